#!lua flags=allow-oom
-- The next page of the change feed, or that there is a gap.
-- KEYS: 1 meta, 2 feed (see commit.lua)
-- ARGV: 1 an id for a store that has none, 2 id of the store that was read before or '', 3 commit and 4 position that
--   have been read, 5 stamp of that entry or '', 6 most entries
-- Answers id, number of commits, 1 when there is a gap, entries.
local id, commits = store_id(ARGV[1]), number_in_meta('commits')
local after, trimmed = tonumber(ARGV[3]), number_in_meta('trimmed')
local entry_id = ARGV[3] .. '-' .. ARGV[4]

local gap = after < trimmed or after > commits or (ARGV[2] ~= '' and ARGV[2] ~= id)
if not gap and ARGV[5] ~= '' and after > trimmed then
  -- A restored copy of the store has grown past the reader: what it read has become another entry.
  local entry = redis.call('XRANGE', KEYS[2], entry_id, entry_id)[1]
  gap = not entry or entry[2][8] ~= ARGV[5]
end
if gap then return { id, commits, 1, {} } end
return { id, commits, 0, redis.call('XRANGE', KEYS[2], '(' .. entry_id, '+', 'COUNT', ARGV[6]) }
