-- Queues: how many tasks of each queue of a partition wait, run, are delayed and ended lately. Reads only.
--
-- KEYS[1]  set, the names of the partition's queues
-- ARGV[1]  what the keys of lines start with; the name of a priority, ':' and that of a queue follow
-- ARGV[2]  what the keys of ended tasks start with; the name of a queue follows
-- ARGV[3]  the score of a task that waits and may run from the first millisecond on
-- ARGV[4]  the same of one that may run from now on
-- ARGV[5]  the least score of a task that runs
-- ARGV[6]  the time since when ended tasks count
-- ARGV[7 ..]  the names of the priorities
--
-- Answers for each queue its name, how many ended, and for each priority how many wait, are delayed and run, and the
-- score of the first that waits or ''.

local answer = {}
for _, queue in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  answer[#answer + 1] = queue
  answer[#answer + 1] = redis.call('ZCOUNT', ARGV[2] .. queue, ARGV[6], '+inf')
  for i = 7, #ARGV do
    local line = ARGV[1] .. ARGV[i] .. ':' .. queue
    answer[#answer + 1] = redis.call('ZCOUNT', line, ARGV[3], ARGV[4])
    answer[#answer + 1] = redis.call('ZCOUNT', line, '(' .. ARGV[4], '(' .. ARGV[5])
    answer[#answer + 1] = redis.call('ZCOUNT', line, ARGV[5], '+inf')
    local first = redis.call('ZRANGE', line, ARGV[3], ARGV[4], 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
    answer[#answer + 1] = first[2] or ''
  end
end
return answer
