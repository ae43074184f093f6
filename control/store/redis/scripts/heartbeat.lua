#!lua flags=allow-oom
-- A replica says that it lives, and asks who else does.
-- KEYS: 1 meta, 2 replicas: zset "<id> <what replicas share>" -> age of the store in us at the last heartbeat
-- ARGV: 1 its member, 2 ms after which one that is silent is forgotten
-- Answers the members of those that live, itself among them.
if verdict ~= 'same' then return {} end
keep_age()
redis.call('ZADD', KEYS[2], int(age_us), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. int(age_us - tonumber(ARGV[2]) * 1000))
return redis.call('ZRANGE', KEYS[2], 0, -1)
