#!lua
-- Replaces the kept output of a run, with all that was appended; only the newest runs stay.
-- KEYS: 1 meta, 2 outputs: hash run -> gzip, and run .. ':tail' -> the parts appended since: eight digits (their bytes
-- before compression), then a gzip each
-- ARGV: 1 run, 2 gzip, 3 most runs
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('HDEL', KEYS[2], ARGV[1] .. ':tail')
local runs = {}
for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
  if tonumber(field) then runs[#runs + 1] = field end
end
table.sort(runs, function(a, b) return tonumber(a) > tonumber(b) end)
for place = tonumber(ARGV[3]) + 1, #runs do redis.call('HDEL', KEYS[2], runs[place], runs[place] .. ':tail') end
return 1
