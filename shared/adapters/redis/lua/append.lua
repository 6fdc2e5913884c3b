-- Append: the one way a task changes.
--
-- KEYS[1]  hash, the task        sequence, asked, life, timers, payload, result, fingerprint, undelivered
-- KEYS[2]  list, its event log   element n (from 1) is event n: 8 bytes that name the append, then the event
-- KEYS[3]  set, the names of the partition's queues
-- KEYS[4]  sorted set, lanes of webhook deliveries by the time at which they are to be looked at
-- KEYS[5]  sorted set, the index of the tenant's webhook deliveries
-- KEYS[6 .. 5+m]  sorted sets that the task stands in: its wake, the indexes of listings, its queue's line
-- ARGV[1]  the sequence the caller takes the task to be at; 0 = it does not exist yet
-- ARGV[2]  the member that stands for the task in sorted sets
-- ARGV[3]  the task's queue
-- ARGV[4]  '1' to get the payload back
-- ARGV[5]  n, the number of events
-- ARGV[6]  m, the number of sorted sets
-- ARGV[7 .. 6+n]  the events
-- ARGV[7+n .. 6+n+2m]  for each sorted set the task's score, or '' to take it out; and the score below which
--          whatever stands there is dropped, or ''
-- ARGV[7+n+2m]     d, the number of webhook deliveries; with any, two more arguments follow here: the time at which
--          they are due, and their score in the index; then each as <sequence>/<endpoint>
-- and then         hash fields to set, name and value in turn
--
-- Answers {1, payload or ''} when the change is in the record, by this call or by an earlier sending of it,
-- else {0, sequence or '', asked, life, timers, fingerprint} and nothing is written.
-- It compares and writes; all policy is the caller's.

local expected = tonumber(ARGV[1])
local count = tonumber(ARGV[5])
local sets = tonumber(ARGV[6])
local sequence = tonumber(redis.call('HGET', KEYS[1], 'sequence') or 0)

local function done()
  if ARGV[4] == '1' then
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

local at = 7 + count
for i = 1, sets do
  local key, score, floor = KEYS[5 + i], ARGV[at], ARGV[at + 1]
  if score == '' then
    redis.call('ZREM', key, ARGV[2])
  else
    redis.call('ZADD', key, score, ARGV[2])
  end
  if floor ~= '' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. floor)
  end
  at = at + 2
end
if expected == 0 then
  redis.call('SADD', KEYS[3], ARGV[3])
end

local deliveries = tonumber(ARGV[at])
if deliveries > 0 then
  local time, score = ARGV[at + 1], ARGV[at + 2]
  for i = at + 3, at + 2 + deliveries do
    -- A lane that is there already is in hand, or waits for another try of an earlier event: that goes first.
    redis.call('ZADD', KEYS[4], 'NX', time, ARGV[2] .. string.match(ARGV[i], '/(.*)'))
    redis.call('ZADD', KEYS[5], score, ARGV[2] .. ARGV[i])
  end
  redis.call('HINCRBY', KEYS[1], 'undelivered', deliveries)
  at = at + 2 + deliveries
end

local fields = {}
for i = at + 1, #ARGV do
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
return done()
