#!lua
-- Adds a part to the kept output of a run.
-- KEYS: 1 meta, 2 outputs (see save-output.lua)
-- ARGV: 1 run, 2 the part as gzip, 3 its bytes before compression, 4 most bytes of all parts
-- Answers 1, or 0 when the whole has to be saved: nothing is kept of this run, or the parts are too many.
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return 0 end
local field = ARGV[1] .. ':tail'
local tail = redis.call('HGET', KEYS[2], field) or '00000000'
local bytes = tonumber(string.sub(tail, 1, 8)) + tonumber(ARGV[3])
if bytes > tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[2], field, string.format('%08d', bytes) .. string.sub(tail, 9) .. ARGV[2])
return 1
