#!lua
-- Lets the store go on as another: see Store.adopt.
-- KEYS: 1 meta, 2-10 the queue (queue.lua), 11 feed (see commit.lua)
-- ARGV: 1 an id for a store that has none, 2 id to go on as, 3 least number of commits, then ids of stores it replaces
-- Answers id, number of commits, JSON array of the ids it replaces.
local id, commits = store_id(ARGV[1]), number_in_meta('commits')
local former, known, is_new = {}, {}, id ~= ARGV[2] or commits < tonumber(ARGV[3])
local function replace(other)
  if other ~= ARGV[2] and not known[other] then table.insert(former, other) end
  known[other] = true
end
for _, other in ipairs(cjson.decode(redis.call('HGET', KEYS[1], 'replaces') or '[]')) do replace(other) end
local before = #former
if id ~= ARGV[2] then replace(id) end
for at = 4, #ARGV do replace(ARGV[at]) end
local replaces = #former > 0 and cjson.encode(former) or '[]'
if is_new or #former > before then
  -- The changes until then are forgotten with the id under which they were made: readers get a gap.
  commits = math.max(commits, tonumber(ARGV[3])) + 1
  redis.call('HSET', KEYS[1], 'id', ARGV[2], 'commits', int(commits), 'trimmed', int(commits), 'replaces', replaces)
  redis.call('DEL', KEYS[11])
  wake()
end
return { ARGV[2], commits, replaces }
