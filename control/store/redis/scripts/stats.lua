#!lua flags=no-writes
-- Counts the queue.
-- KEYS: 1 meta, 2-9 the queue (queue.lua)
-- Answers due, delayed, leased.
local expired = redis.call('ZCOUNT', LEASED, '-inf', int(age_us))
local due = redis.call('ZCOUNT', DUE, '-inf', int(age_us))
return { due + expired, redis.call('ZCARD', DUE) - due, redis.call('ZCARD', LEASED) - expired }
