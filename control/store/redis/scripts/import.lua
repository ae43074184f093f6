#!lua
-- Puts records and tombstones of another store in, as they are; again changes nothing.
-- KEYS: 1 meta, 2 records, 3 places, 4 lists, 5 tombstones, 6 tombstone ages (see commit.lua)
-- ARGV: 1 id of the other store, 2 number of records, then
--   for each record: field, "<revision> <schema> <json>", JSON array of its members in `lists`
--   for each tombstone: field, "<revision> <uid>"
-- Answers 1, or 0 when this store is not being filled from that one.
if redis.call('HGET', KEYS[1], 'filling') ~= ARGV[1] then return 0 end
keep_age()
local records = tonumber(ARGV[2])
for at = 3, records * 3 + 2, 3 do
  redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
  redis.call('HSET', KEYS[3], ARGV[at], ARGV[at + 2])
  for _, member in ipairs(cjson.decode(ARGV[at + 2])) do redis.call('ZADD', KEYS[4], 0, member) end
end
for at = records * 3 + 3, #ARGV, 2 do
  redis.call('HSET', KEYS[5], ARGV[at], ARGV[at + 1])
  redis.call('ZADD', KEYS[6], int(age_us / 1000000), ARGV[at])
end
return 1
