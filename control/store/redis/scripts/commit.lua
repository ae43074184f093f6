#!lua
-- Commits a batch: all of it, or nothing.
-- KEYS: 1 meta, 2-10 the queue (queue.lua)
--   11 records          hash    "<kind> <key>" -> "<revision> <schema> <json>"
--   12 places           hash    the same field -> JSON array of its members in `lists`
--   13 lists            zset    all scores 0: for each form of a list its prefix, then the key
--   14 tombstones       hash    the same field -> "<revision> <uid>"
--   15 tombstone ages   zset    the same field -> age of the store in seconds when it was deleted
--   16 feed             stream  ids <commit>-<position>; kind, name (the field), value ("<schema> <json>" or uid), stamp,
--                               fed: bytes of all values that were ever written to the feed, this one included
-- ARGV: 1 an id for a store that has none, 2 '<fence> <lease>' or '', 3 commits that stay in the feed, 4 tombstones' seconds
--   5 number of puts, 6 of deletes, 7 of keys to enqueue, 8 stamp, 9 bytes of values that stay in the feed, then
--   for each put: field, expected revision or '', "<schema> <json>", JSON array of its members in `lists`
--   for each delete: field, expected revision, uid
--   for each key: key, '1' when it has a share, share
-- Answers {'committed', number}, {'conflict', places in the batch from 0 ...} or {'fenced'}.
local RECORDS, PLACES, LISTS, TOMBSTONES, TOMBSTONE_AGES, FEED = KEYS[11], KEYS[12], KEYS[13], KEYS[14], KEYS[15], KEYS[16]
-- Trimming once in so many commits keeps its cost out of most of them; so many at once bound it.
local COMMITS_PER_TRIM, TOMBSTONES_PER_TRIM = 100, 1000
-- So often the bytes of the feed are looked at while as many are written as may stay.
local TRIMS_PER_BOUND = 64

local fence, lease = string.match(ARGV[2], '^(%d+) (.+)$')
fence = tonumber(fence)
-- The health loop's has the name that it had when there was one for all: replicas of that release look at it.
local fence_field = lease == 'health' and 'fence_used' or 'fence_used:' .. (lease or '')
local fence_used = fence and number_in_meta(fence_field) or 0
if fence and fence < fence_used then return { 'fenced' } end

local puts, deletes, enqueues = {}, {}, {}
local stamp = ARGV[8]
local at = 9
local function take(count, into, names)
  for _ = 1, count do
    local entry = {}
    for offset, name in ipairs(names) do entry[name] = ARGV[at + offset] end
    at = at + #names
    table.insert(into, entry)
  end
end
take(tonumber(ARGV[5]), puts, { 'field', 'expected', 'value', 'places' })
take(tonumber(ARGV[6]), deletes, { 'field', 'expected', 'uid' })
take(tonumber(ARGV[7]), enqueues, { 'key', 'has_share', 'share' })

local result = { 'conflict' }
local place = 0
for _, changes in ipairs({ puts, deletes }) do
  for _, change in ipairs(changes) do
    local record = redis.call('HGET', RECORDS, change.field)
    local revision = record and string.match(record, '^%d+') or ''
    if revision ~= change.expected then table.insert(result, place) end
    place = place + 1
  end
end
if #result > 1 then return result end

local commit = store.commits + 1
local position = 0
local fed_before = number_in_meta('fed')
local fed = fed_before
-- Before every other write: it is the one that fails when the feed is not the one of this counter.
local function feed(kind, name, value)
  local id = int(commit) .. '-' .. position
  fed = fed + #value
  redis.call('XADD', FEED, id, 'kind', kind, 'name', name, 'value', value, 'stamp', stamp, 'fed', int(fed))
  position = position + 1
end
for _, put in ipairs(puts) do feed('put', put.field, put.value) end
for _, delete in ipairs(deletes) do feed('delete', delete.field, delete.uid) end

keep_age()
name_store(ARGV[1])
count_commit(commit, stamp)
redis.call('HSET', KEYS[1], 'fed', int(fed))
if fence and fence > fence_used then redis.call('HSET', KEYS[1], fence_field, int(fence)) end

local function remove_places(places)
  if places then
    for _, member in ipairs(cjson.decode(places)) do redis.call('ZREM', LISTS, member) end
  end
end
for _, put in ipairs(puts) do
  redis.call('HSET', RECORDS, put.field, int(commit) .. ' ' .. put.value)
  -- Most puts leave them as they are: a status changes far more often than a permission.
  local former = redis.call('HGET', PLACES, put.field)
  if former ~= put.places then
    remove_places(former)
    for _, member in ipairs(cjson.decode(put.places)) do redis.call('ZADD', LISTS, 0, member) end
    redis.call('HSET', PLACES, put.field, put.places)
  end
end
for _, delete in ipairs(deletes) do
  remove_places(redis.call('HGET', PLACES, delete.field))
  redis.call('HDEL', PLACES, delete.field)
  redis.call('HDEL', RECORDS, delete.field)
  redis.call('HSET', TOMBSTONES, delete.field, int(commit) .. ' ' .. delete.uid)
  redis.call('ZADD', TOMBSTONE_AGES, int(age_us / 1000000), delete.field)
end
for _, entry in ipairs(enqueues) do
  enqueue(entry.key, entry.has_share == '1' and entry.share or nil, age_us, true)
end

-- Up to this commit.
local function trim_feed(trimmed)
  if trimmed <= number_in_meta('trimmed') then return end
  redis.call('XTRIM', FEED, 'MINID', int(trimmed + 1))
  redis.call('HSET', KEYS[1], 'trimmed', int(trimmed))
end

-- The last commit behind which there are as many bytes as may stay, or 0. Entries of earlier releases have no sum.
local function last_beyond(most_bytes)
  local from, last = '-', 0
  while true do
    local entry = redis.call('XRANGE', FEED, from, '+', 'COUNT', 1)[1]
    if not entry or fed - tonumber(entry[2][10] or '0') < most_bytes then return last end
    last = tonumber(string.match(entry[1], '^%d+'))
    from = '(' .. entry[1]
  end
end

local step = tonumber(ARGV[9]) / TRIMS_PER_BOUND
if math.floor(fed / step) > math.floor(fed_before / step) then trim_feed(last_beyond(tonumber(ARGV[9]))) end
if commit % COMMITS_PER_TRIM == 0 then
  trim_feed(commit - tonumber(ARGV[3]))
  local before = int(age_us / 1000000 - tonumber(ARGV[4]))
  local old = redis.call('ZRANGE', TOMBSTONE_AGES, '-inf', '(' .. before, 'BYSCORE', 'LIMIT', 0, TOMBSTONES_PER_TRIM)
  for _, field in ipairs(old) do
    redis.call('ZREM', TOMBSTONE_AGES, field)
    redis.call('HDEL', TOMBSTONES, field)
  end
end
wake()
return { 'committed', commit }
