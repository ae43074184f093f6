#!lua flags=allow-oom
-- Gives a lock back; a lost one is left alone.
-- KEYS: 1 meta, 2 locks (see acquire-lock.lua)
-- ARGV: 1 name, 2 token
local token = string.match(redis.call('HGET', KEYS[2], ARGV[1]) or '', '^%d+ (.*)$')
if token ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[2], ARGV[1])
