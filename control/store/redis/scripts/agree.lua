#!lua
-- What was said first under a name, by whichever replica.
-- KEYS: 1 meta, 2 agreed: hash name -> value
-- ARGV: 1 name, 2 value
-- Answers the value that is recorded from now on.
redis.call('HSETNX', KEYS[2], ARGV[1], ARGV[2])
return redis.call('HGET', KEYS[2], ARGV[1])
