-- Newest: the members of an index with the greatest times, of several statuses at once. Reads only.
--
-- KEYS[1]  sorted set, an index: score = status * span + time
-- ARGV[1]  how many of each status
-- ARGV[2]  the span
-- ARGV[3]  the time below which they lie
-- ARGV[4]  the time from which on they lie
-- ARGV[5]  '1' to get all of exactly ARGV[3] as well
-- ARGV[6 ..]  the statuses
--
-- Answers member and score in turn; of each status in falling order, though not across them.

local function score(status, time)
  return string.format('%.0f', tonumber(status) * tonumber(ARGV[2]) + tonumber(time))
end

local found = {}
local function add(entries)
  for i = 1, #entries do
    found[#found + 1] = entries[i]
  end
end

for i = 6, #ARGV do
  local below, from = score(ARGV[i], ARGV[3]), score(ARGV[i], ARGV[4])
  if ARGV[5] == '1' then
    add(redis.call('ZRANGE', KEYS[1], below, below, 'BYSCORE', 'REV', 'WITHSCORES'))
  end
  add(redis.call('ZRANGE', KEYS[1], '(' .. below, from, 'BYSCORE', 'REV', 'LIMIT', 0, ARGV[1], 'WITHSCORES'))
end
return found
