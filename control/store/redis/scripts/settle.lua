#!lua
-- Replaces what was agreed on under a name.
-- KEYS: 1 meta, 2 agreed (see agree.lua)
-- ARGV: 1 name, 2 value
return redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
