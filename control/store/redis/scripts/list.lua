#!lua flags=no-writes
-- One page of a list, in the order of the keys' bytes.
-- KEYS: 1 meta, 2 lists, 3 records (see commit.lua)
-- ARGV: 1 kind, 2 prefix of the list, 3 key to start behind, 4 most records, 5 bytes behind which no further one is read
-- Answers key, record, key, record ...
-- No UTF-8 text holds the byte 255: all keys of the list are before it.
local from, to = '(' .. ARGV[2] .. ARGV[3], '(' .. ARGV[2] .. '\255'
local page, bytes, most = {}, 0, tonumber(ARGV[5]) or math.huge
for _, member in ipairs(redis.call('ZRANGE', KEYS[2], from, to, 'BYLEX', 'LIMIT', 0, ARGV[4])) do
  local key = string.sub(member, #ARGV[2] + 1)
  local record = redis.call('HGET', KEYS[3], ARGV[1] .. ' ' .. key)
  table.insert(page, key)
  table.insert(page, record)
  bytes = bytes + (record and #record or 0)
  if bytes >= most then break end
end
return page
