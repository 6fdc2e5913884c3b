-- Deliver again: deliveries of one lane become pending, and the lane goes back to the first of them.
--
-- KEYS[1]  sorted set, the lanes of the partition by the time at which they are to be looked at
-- KEYS[2]  hash, the task
-- KEYS[3]  hash, its deliveries     at/<endpoint> = the cursor; again/<endpoint> = how often deliveries were asked for
--          again; <sequence>/<endpoint> = a delivery
-- KEYS[4]  sorted set, the index of the tenant's deliveries: score = state * span + time of the event
-- ARGV[1]  the member that stands for the lane
-- ARGV[2]  the endpoint
-- ARGV[3]  now
-- ARGV[4 ..] for each delivery four, the earliest first: the event's sequence, the delivery, the member that stands for
--          it, and its score in the index as long as it is pending
--
-- Answers 1, or 0 if the task is gone.

if redis.call('EXISTS', KEYS[2]) == 0 then
  return 0
end
for i = 4, #ARGV, 4 do
  if redis.call('ZADD', KEYS[4], 'CH', ARGV[i + 3], ARGV[i + 2]) == 1 then
    redis.call('HINCRBY', KEYS[2], 'undelivered', 1)
  end
  redis.call('HSET', KEYS[3], ARGV[i] .. '/' .. ARGV[2], ARGV[i + 1])
end
if tonumber(redis.call('HGET', KEYS[3], 'at/' .. ARGV[2]) or 0) >= tonumber(ARGV[4]) then
  redis.call('HSET', KEYS[3], 'at/' .. ARGV[2], tonumber(ARGV[4]) - 1)
end
redis.call('HINCRBY', KEYS[3], 'again/' .. ARGV[2], 1)
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
return 1
