-- Events: what the log has after an event. Reads only.
--
-- KEYS[1]  hash, the task
-- KEYS[2]  list, its event log, as append.lua describes both
-- ARGV[1]  the sequence of the event
-- ARGV[2]  how many at most
--
-- Answers elements of the log, oldest first: ARGV[2] at most, except that after an event before the unbroken end all
-- that stand before it come, too, those that are not asked for included.

local after, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local known = redis.call('HMGET', KEYS[1], 'first', 'head')
local first, head = tonumber(known[1] or 1), tonumber(known[2] or 0)
if after + 1 < first then
  return redis.call('LRANGE', KEYS[2], 0, head + limit - 1)
end
local start = head + after + 1 - first
return redis.call('LRANGE', KEYS[2], start, start + limit - 1)
