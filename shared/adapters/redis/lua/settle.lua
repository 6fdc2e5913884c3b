-- Settle: how far a lane has come, and what became of one of its deliveries.
--
-- KEYS[1]  sorted set, the lanes of the partition by the time at which they are to be looked at
-- KEYS[2]  hash, the task
-- KEYS[3]  hash, its deliveries     at/<endpoint> = the cursor; again/<endpoint> = how often deliveries were asked for
--          again; <sequence>/<endpoint> = a delivery
-- KEYS[4]  sorted set, terminal tasks by the time until which they are kept
-- KEYS[5]  sorted set, the index of the tenant's deliveries: score = state * span + time of the event
-- ARGV[1]  the member that stands for the lane
-- ARGV[2]  the endpoint
-- ARGV[3]  the cursor as the caller read it
-- ARGV[4]  the cursor from now on
-- ARGV[5]  when the lane is to be looked at again, or '' if nothing is left of what the caller read
-- ARGV[6]  the task's sequence as the caller read it
-- ARGV[7]  now
-- ARGV[8]  the member that stands for the task
-- ARGV[9]  until when the task, which is terminal, is to be kept at least, or ''
-- ARGV[10] the delivery's field, or '' if there is none to write
-- ARGV[11] the delivery
-- ARGV[12] the member that stands for the delivery
-- ARGV[13] its score in the index as long as it is pending
-- ARGV[14] its score from now on
-- ARGV[15] how often deliveries had been asked for again when the caller read the lane
--
-- Answers 1, or 0 if the lane is not as the caller read it: then only the delivery is written, if it is pending.

local at = redis.call('HGET', KEYS[3], 'at/' .. ARGV[2]) or '0'
local again = redis.call('HGET', KEYS[3], 'again/' .. ARGV[2]) or '0'
-- The client library sends again when a reply is lost.
if at ~= ARGV[3] and at == ARGV[4] and again == ARGV[15]
    and (ARGV[10] == '' or redis.call('HGET', KEYS[3], ARGV[10]) == ARGV[11]) then
  return 1
end

if ARGV[10] ~= '' then
  local score = redis.call('ZSCORE', KEYS[5], ARGV[12])
  if score and tonumber(score) == tonumber(ARGV[13]) then
    redis.call('HSET', KEYS[3], ARGV[10], ARGV[11])
    if ARGV[13] ~= ARGV[14] then
      redis.call('ZADD', KEYS[5], ARGV[14], ARGV[12])
      redis.call('HINCRBY', KEYS[2], 'undelivered', -1)
    end
  end
end
if again ~= ARGV[15] then
  -- Something before the caller's new cursor may be pending again.
  redis.call('ZADD', KEYS[1], 'XX', ARGV[7], ARGV[1])
  return 0
elseif at ~= ARGV[3] then
  return 0
end
if ARGV[3] ~= ARGV[4] then
  redis.call('HSET', KEYS[3], 'at/' .. ARGV[2], ARGV[4])
end
if ARGV[9] ~= '' then
  redis.call('ZADD', KEYS[4], 'XX', 'GT', ARGV[9], ARGV[8])
end
if ARGV[5] ~= '' then
  redis.call('ZADD', KEYS[1], 'XX', ARGV[5], ARGV[1])
elseif redis.call('HGET', KEYS[2], 'sequence') == ARGV[6] then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], 'XX', ARGV[7], ARGV[1])
end
return 1
