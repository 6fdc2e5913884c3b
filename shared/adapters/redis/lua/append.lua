-- Append: the one way a task changes.
--
-- KEYS[1]  hash, the task        sequence, asked, life, timers, payload, result, fingerprint
-- KEYS[2]  list, its event log   element n (from 1) is event n: 8 bytes that name the append, then the event
-- KEYS[3]  zset, the wakes of the partition: member = task id, score = milliseconds
-- ARGV[1]  the sequence the caller takes the task to be at; 0 = it does not exist yet
-- ARGV[2]  task id
-- ARGV[3]  the next wake in milliseconds, or '' to clear it
-- ARGV[4]  milliseconds after which task and log expire, or '' to keep them
-- ARGV[5]  '1' to get the payload back
-- ARGV[6]  n, the number of events
-- ARGV[7 .. 6+n]  the events
-- ARGV[7+n ..]    hash fields to set, name and value in turn
--
-- Answers {1, payload or ''} when the change is in the record, by this call or by an earlier sending of it,
-- else {0, sequence or '', asked, life, timers, fingerprint} and nothing is written.
-- It compares and writes; all policy is the caller's.

local expected = tonumber(ARGV[1])
local count = tonumber(ARGV[6])
local sequence = tonumber(redis.call('HGET', KEYS[1], 'sequence') or 0)

local function done()
  if ARGV[5] == '1' then
    return {1, redis.call('HGET', KEYS[1], 'payload') or ''}
  end
  return {1, ''}
end

if sequence ~= expected then
  -- The client library sends again when a reply is lost: the first event then stands where it was put.
  if count > 0 and redis.call('LINDEX', KEYS[2], expected) == ARGV[7] then
    return done()
  end
  local is = redis.call('HMGET', KEYS[1], 'sequence', 'asked', 'life', 'timers', 'fingerprint')
  return {0, is[1] or '', is[2] or '', is[3] or '', is[4] or '', is[5] or ''}
end

local fields = {}
for i = 7 + count, #ARGV do
  fields[#fields + 1] = ARGV[i]
end
if count > 0 then
  local events = {}
  for i = 7, 6 + count do
    events[#events + 1] = ARGV[i]
  end
  redis.call('RPUSH', KEYS[2], unpack(events))
  fields[#fields + 1] = 'sequence'
  fields[#fields + 1] = expected + count
end
redis.call('HSET', KEYS[1], unpack(fields))

if ARGV[3] == '' then
  redis.call('ZREM', KEYS[3], ARGV[2])
else
  redis.call('ZADD', KEYS[3], ARGV[3], ARGV[2])
end
if ARGV[4] ~= '' then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
return done()
