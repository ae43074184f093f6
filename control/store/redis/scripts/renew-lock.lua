#!lua flags=allow-oom
-- Makes the lease of a lock last longer from now on.
-- KEYS: 1 meta, 2 locks (see acquire-lock.lua)
-- ARGV: 1 name, 2 token, 3 lease in ms
-- Answers 1, or 0 when the lease was lost.
local until_us, token = string.match(redis.call('HGET', KEYS[2], ARGV[1]) or '', '^(%d+) (.*)$')
if token ~= ARGV[2] or tonumber(until_us) <= age_us then return 0 end
keep_age()
redis.call('HSET', KEYS[2], ARGV[1], int(age_us + tonumber(ARGV[3]) * 1000) .. ' ' .. token)
return 1
