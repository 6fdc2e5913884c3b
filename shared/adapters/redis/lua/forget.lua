-- Forget: a task that was kept long enough goes, with every trace.
--
-- KEYS[1]  hash, the task
-- KEYS[2]  list, its event log
-- KEYS[3]  sorted set, the terminal tasks of the partition by the time until which they are kept
-- KEYS[4]  set, the names of the partition's queues
-- KEYS[5 .. 4+m]  sorted sets that it may stand in
-- KEYS[5+m ..]  sorted sets that show whether its queue is in use, where it may stand as well
-- ARGV[1]  the member that stands for the task in sorted sets
-- ARGV[2]  the task's queue
-- ARGV[3]  the time until which it is kept, as the caller knows it: an id may be used again
-- ARGV[4]  m
--
-- Answers 1, or 0 when it is gone already or is another than the caller took it for.

if redis.call('ZSCORE', KEYS[3], ARGV[1]) ~= ARGV[3] then
  return 0
end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[1])
local in_use = false
for i = 5, #KEYS do
  redis.call('ZREM', KEYS[i], ARGV[1])
  in_use = in_use or (i > 4 + tonumber(ARGV[4]) and redis.call('EXISTS', KEYS[i]) == 1)
end
if not in_use then
  redis.call('SREM', KEYS[4], ARGV[2])
end
return 1
