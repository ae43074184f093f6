#!lua flags=no-writes
-- The next page of the change feed, or that there is a gap.
-- KEYS: 1 meta, 2 feed (see commit.lua)
-- ARGV: 1 id of the store that was read before or '', 2 commit and 3 position that have been read, 4 stamp of that entry
--   or '', 5 most entries, 6 bytes of values behind which no further entries are read
-- Answers 1 when there is a gap, entries.
local after, trimmed = tonumber(ARGV[2]), tonumber(redis.call('HGET', KEYS[1], 'trimmed') or '0')
local entry_id = ARGV[2] .. '-' .. ARGV[3]

local gap = after < trimmed or after > store.commits or (ARGV[1] ~= '' and ARGV[1] ~= store.id)
if not gap and ARGV[4] ~= '' and after > trimmed then
  -- A restored copy of the store has grown past the reader: what it read has become another entry.
  local entry = redis.call('XRANGE', KEYS[2], entry_id, entry_id)[1]
  gap = not entry or entry[2][8] ~= ARGV[4]
end
if gap then return { 1, {} } end
local ENTRIES_PER_READ = 10
local page, bytes, from = {}, 0, '(' .. entry_id
while #page < tonumber(ARGV[5]) and bytes < tonumber(ARGV[6]) do
  local entries = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', math.min(ENTRIES_PER_READ, ARGV[5] - #page))
  for _, entry in ipairs(entries) do
    table.insert(page, entry)
    bytes = bytes + #entry[2][6]
    from = '(' .. entry[1]
  end
  if #entries < ENTRIES_PER_READ then break end
end
return { 0, page }
