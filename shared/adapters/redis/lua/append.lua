-- Append: the one way a task changes.
--
-- KEYS[1]  hash, the task        sequence, asked, life, timers, payload, result, fingerprint, undelivered; once its log
--          was thinned, also `first`, the first event of the log's unbroken end, and `head`, how many stand before it
-- KEYS[2]  list, its event log   the last elements are the last events, without a hole. An element is 8 bytes that
--          name the append, '~' where the event may be dropped one day or '=', then the event
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
-- ARGV[7]  of how many events the log's unbroken end consists at most
-- ARGV[8 .. 7+n]  the events
-- ARGV[8+n .. 7+n+m]  for each sorted set the task's score, or '' to take it out. Behind it may stand, after a blank
--          each: the score below which whatever stands there is dropped, or nothing; the milliseconds after which the
--          set goes, or nothing to leave that alone; and what is put behind the member
-- ARGV[8+n+m]      d, the number of webhook deliveries; with any, two more arguments follow here: the time at which
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

-- Above the limit, the older half of the unbroken end loses what may be dropped; the rest of it stays before the end.
local function compact(last, limit)
  local known = redis.call('HMGET', KEYS[1], 'first', 'head')
  local first, head = tonumber(known[1] or 1), tonumber(known[2] or 0)
  if last - first + 1 <= limit then
    return
  end
  local cut = last - math.floor(limit / 2) + 1
  local ended = redis.call('LRANGE', KEYS[2], head + cut - first, -1)
  local thinned = redis.call('LRANGE', KEYS[2], head, head + cut - first - 1)
  if head == 0 then
    redis.call('DEL', KEYS[2])
  else
    redis.call('LTRIM', KEYS[2], 0, head - 1)
  end
  for _, entry in ipairs(thinned) do
    if string.sub(entry, 9, 9) ~= '~' then
      redis.call('RPUSH', KEYS[2], entry)
      head = head + 1
    end
  end
  for _, entry in ipairs(ended) do
    redis.call('RPUSH', KEYS[2], entry)
  end
  redis.call('HSET', KEYS[1], 'first', cut, 'head', head)
end

if sequence ~= expected then
  -- The client library sends again when a reply is lost: the first event then stands where it was put.
  if count > 0 and redis.call('LINDEX', KEYS[2], expected - sequence) == ARGV[8] then
    return done()
  end
  local is = redis.call('HMGET', KEYS[1], 'sequence', 'asked', 'life', 'timers', 'fingerprint')
  return {0, is[1] or '', is[2] or '', is[3] or '', is[4] or '', is[5] or ''}
end

local at = 8 + count
for i = 1, sets do
  local key, score, floor, ttl, suffix = KEYS[5 + i], ARGV[at], '', '', ''
  if string.find(score, ' ', 1, true) then
    score, floor, ttl, suffix = string.match(score, '^(%S*) (%S*) (%S*) (.*)$')
  end
  local member = ARGV[2] .. suffix
  if score == '' then
    redis.call('ZREM', key, member)
  else
    redis.call('ZADD', key, score, member)
  end
  if floor ~= '' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. floor)
  end
  if ttl ~= '' then
    redis.call('PEXPIRE', key, ttl)
  end
  at = at + 1
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
  for i = 8, 7 + count do
    events[#events + 1] = ARGV[i]
  end
  local limit = tonumber(ARGV[7])
  if redis.call('RPUSH', KEYS[2], unpack(events)) > limit then
    compact(expected + count, limit)
  end
  fields[#fields + 1] = 'sequence'
  fields[#fields + 1] = expected + count
end
redis.call('HSET', KEYS[1], unpack(fields))
return done()
