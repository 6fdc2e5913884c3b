-- Forget: a task that was kept long enough goes, with every trace.
--
-- KEYS[1]  hash, the task
-- KEYS[2]  list, its event log
-- KEYS[3]  sorted set, the terminal tasks of the partition by the time until which they are kept
-- KEYS[4]  set, the names of the partition's queues
-- KEYS[5]  hash, its webhook deliveries
-- KEYS[6]  sorted set, the index of the tenant's webhook deliveries
-- KEYS[7]  sorted set, the tasks that were forgotten lately by the time until which they were kept
-- KEYS[8 .. 7+m]  sorted sets that it may stand in
-- KEYS[8+m ..]  sorted sets that show whether its queue is in use
-- ARGV[1]  the member that stands for the task in sorted sets
-- ARGV[2]  the task's queue
-- ARGV[3]  now: a task that is kept for longer is another than the caller took it for, since an id may be used again
-- ARGV[4]  m
-- ARGV[5]  when to look again at a task with webhooks that are still to be delivered
-- ARGV[6]  the member that stands for a forgotten task
-- ARGV[7]  how many forgotten tasks are remembered
-- ARGV[8]  for how many milliseconds after the last of them
--
-- Answers 1, or 0 when it is gone already, is another, or has to stay.

local kept = redis.call('ZSCORE', KEYS[3], ARGV[1])
if not kept or tonumber(kept) > tonumber(ARGV[3]) then
  return 0
end
if tonumber(redis.call('HGET', KEYS[1], 'undelivered') or 0) > 0 then
  redis.call('ZADD', KEYS[3], ARGV[5], ARGV[1])
  return 0
end
for _, field in ipairs(redis.call('HKEYS', KEYS[5])) do
  redis.call('ZREM', KEYS[6], ARGV[1] .. field)
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[5])
redis.call('ZREM', KEYS[3], ARGV[1])
local in_use = false
for i = 8, 7 + tonumber(ARGV[4]) do
  redis.call('ZREM', KEYS[i], ARGV[1])
end
for i = 8 + tonumber(ARGV[4]), #KEYS do
  in_use = in_use or redis.call('EXISTS', KEYS[i]) == 1
end
if not in_use then
  redis.call('SREM', KEYS[4], ARGV[2])
end
redis.call('ZADD', KEYS[7], kept, ARGV[6])
redis.call('ZREMRANGEBYRANK', KEYS[7], 0, -ARGV[7] - 1)
redis.call('PEXPIRE', KEYS[7], ARGV[8])
return 1
