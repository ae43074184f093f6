#!lua
-- Lets the store go on as another: see Store.adopt.
-- KEYS: 1 meta, 2-10 the queue (queue.lua), 11 feed (see commit.lua)
-- ARGV: 1 stamp, 2 id to go on as, 3 least number of commits, 4 every later fence is greater, then ids of stores it
--   replaces
-- Answers a JSON array of the ids it replaces.
local former, known, is_new = {}, {}, store.id ~= ARGV[2] or store.commits < tonumber(ARGV[3])
local function replace(other)
  if other ~= ARGV[2] and not known[other] then table.insert(former, other) end
  known[other] = true
end
for _, other in ipairs(cjson.decode(store.replaces)) do replace(other) end
local before = #former
if store.id and store.id ~= ARGV[2] then replace(store.id) end
for at = 5, #ARGV do replace(ARGV[at]) end
local replaces = #former > 0 and cjson.encode(former) or '[]'
if is_new or #former > before then
  -- The changes until then are forgotten with the id under which they were made: readers get a gap.
  local commits = math.max(store.commits, tonumber(ARGV[3])) + 1
  redis.call('HSETNX', KEYS[1], 'layout', '1')
  redis.call('HSET', KEYS[1], 'id', ARGV[2], 'trimmed', int(commits), 'replaces', replaces)
  redis.call('DEL', KEYS[11])
  -- What was seen of the stores whose place it takes, before an operator decided so, is believed by number alone.
  count_commit(commits, ARGV[1], true)
  store.id = ARGV[2]
  wake()
end
local fence = math.max(number_in_meta('fence_given'), tonumber(ARGV[4]))
redis.call('HSET', KEYS[1], 'fence_given', int(fence))
return replaces
