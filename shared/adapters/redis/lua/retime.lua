-- Retime: other timers for a task to which nothing has happened since. No event, and so no append.
--
-- KEYS[1]  hash, the task
-- KEYS[2]  sorted set, the wakes of its partition
-- ARGV[1]  the sequence the caller takes the task to be at
-- ARGV[2]  the timers
-- ARGV[3]  the member that stands for the task in sorted sets
-- ARGV[4]  its wake
--
-- Answers 1 if the task was at that sequence, else 0 and nothing is written.

if redis.call('HGET', KEYS[1], 'sequence') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'timers', ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[3])
return 1
