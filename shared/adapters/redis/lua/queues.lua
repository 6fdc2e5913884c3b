-- Queues: how many tasks of each queue of a partition wait, run, are delayed and ended lately. Reads only.
--
-- KEYS[1]  set, the names of the partition's queues
-- KEYS[2]  sorted set, tasks that ended lately: member = 16 bytes and the name of the queue, score = the time
-- ARGV[1]  what the keys of lines start with; the name of a priority, ':' and that of a queue follow
-- ARGV[2]  the score of a task that waits and may run from the first millisecond on
-- ARGV[3]  the same of one that may run from now on
-- ARGV[4]  the least score of a task that runs
-- ARGV[5]  the time since when ended tasks count
-- ARGV[6 ..]  the names of the priorities
--
-- Answers for each queue its name, how many ended, and for each priority how many wait, are delayed and run, and the
-- score of the first that waits or ''.

local ended = {}
for _, member in ipairs(redis.call('ZRANGE', KEYS[2], ARGV[5], '+inf', 'BYSCORE')) do
  local queue = string.sub(member, 17)
  ended[queue] = (ended[queue] or 0) + 1
end

local answer = {}
local function add(queue)
  answer[#answer + 1] = queue
  answer[#answer + 1] = ended[queue] or 0
  ended[queue] = nil
  for i = 6, #ARGV do
    local line = ARGV[1] .. ARGV[i] .. ':' .. queue
    answer[#answer + 1] = redis.call('ZCOUNT', line, ARGV[2], ARGV[3])
    answer[#answer + 1] = redis.call('ZCOUNT', line, '(' .. ARGV[3], '(' .. ARGV[4])
    answer[#answer + 1] = redis.call('ZCOUNT', line, ARGV[4], '+inf')
    local first = redis.call('ZRANGE', line, ARGV[2], ARGV[3], 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
    answer[#answer + 1] = first[2] or ''
  end
end

for _, queue in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  add(queue)
end
-- What is left has no task here any more: to take a name out of the table one walks through is allowed.
for queue in pairs(ended) do
  add(queue)
end
return answer
