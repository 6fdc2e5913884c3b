-- Take: a dispatcher takes up a lane, the deliveries of one task to one endpoint.
--
-- KEYS[1]  sorted set, the lanes of the partition by the time at which they are to be looked at
-- KEYS[2]  hash, the task
-- KEYS[3]  list, its event log
-- KEYS[4]  hash, its deliveries     at/<endpoint> = the cursor; again/<endpoint> = how often deliveries were asked for
--          again; <sequence>/<endpoint> = a delivery
-- ARGV[1]  the member that stands for the lane
-- ARGV[2]  the endpoint
-- ARGV[3]  now
-- ARGV[4]  until when the lane is held
-- ARGV[5]  how many events to read at most
--
-- Answers {cursor, asked, life, timers, elements of the log, all of KEYS[4]}, or nothing if the lane is not due. Among
-- the elements may be some before the cursor.

local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not due or tonumber(due) > tonumber(ARGV[3]) then
  return false
end
local is = redis.call('HMGET', KEYS[2], 'asked', 'life', 'timers')
if not is[1] then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return false
end
redis.call('ZADD', KEYS[1], 'XX', ARGV[4], ARGV[1])
local cursor = tonumber(redis.call('HGET', KEYS[4], 'at/' .. ARGV[2]) or 0)
-- The log may be thinned, as in events.lua: then all that stands before its unbroken end comes, too.
local kept = redis.call('HMGET', KEYS[2], 'first', 'head')
local first, head = tonumber(kept[1] or 1), tonumber(kept[2] or 0)
local start, stop = 0, head + tonumber(ARGV[5]) - 1
if cursor + 1 >= first then
  start = head + cursor + 1 - first
  stop = start + tonumber(ARGV[5]) - 1
end
return {cursor, is[1], is[2], is[3], redis.call('LRANGE', KEYS[3], start, stop), redis.call('HGETALL', KEYS[4])}
