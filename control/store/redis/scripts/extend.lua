#!lua flags=allow-oom
-- Makes a lease last longer from now on.
-- KEYS: 1 meta, 2-10 the queue (queue.lua)
-- ARGV: 1 key, 2 token, 3 lease in ms
-- Answers 1, or 0 when the token no longer holds the lease.
keep_age()
if not held(ARGV[1], ARGV[2]) then return 0 end
redis.call('ZADD', LEASED, int(age_us + tonumber(ARGV[3]) * 1000), ARGV[1])
return 1
