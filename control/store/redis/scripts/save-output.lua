#!lua
-- Replaces the kept output of a run; only the newest runs stay.
-- KEYS: 1 meta, 2 outputs: hash run -> gzip
-- ARGV: 1 run, 2 gzip, 3 most runs
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local runs = redis.call('HKEYS', KEYS[2])
table.sort(runs, function(a, b) return tonumber(a) > tonumber(b) end)
for place = tonumber(ARGV[3]) + 1, #runs do redis.call('HDEL', KEYS[2], runs[place]) end
return 1
