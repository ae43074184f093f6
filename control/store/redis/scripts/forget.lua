#!lua flags=allow-oom
-- Forgets what was agreed on under a name.
-- KEYS: 1 meta, 2 agreed (see agree.lua)
-- ARGV: 1 name
return redis.call('HDEL', KEYS[2], ARGV[1])
