#!lua
-- Adds a line to a bounded list, unless it is the last one already.
-- KEYS: 1 meta, 2 lines: list
-- ARGV: 1 line, 2 most lines
if redis.call('LINDEX', KEYS[2], -1) == ARGV[1] then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('LTRIM', KEYS[2], -tonumber(ARGV[2]), -1)
return 1
