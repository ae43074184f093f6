#!lua flags=allow-oom
-- May the records of another store be put in here? Marks this one as being filled: nobody else uses it until that ends.
-- KEYS: 1 meta, 2 records, 3 tombstones, 4 replicas (see heartbeat.lua)
-- ARGV: 1 id of the other store, 2 '1' to mark, 3 ms after which a replica that is silent counts as gone
-- Answers 'done' when it holds that store already, 'busy' when replicas use it, 'used' when it has records of its own,
-- else 'empty' or, after an import of the same store that was interrupted, 'begun'.
local present, filling = unpack(redis.call('HMGET', KEYS[1], 'id', 'filling'))
if not filling and present == ARGV[1] then return 'done' end
if redis.call('ZCOUNT', KEYS[4], int(age_us - tonumber(ARGV[3]) * 1000), '+inf') > 0 then return 'busy' end
if filling == ARGV[1] then return 'begun' end
local commits = tonumber(redis.call('HGET', KEYS[1], 'commits') or '0')
if filling or commits > 0 or redis.call('EXISTS', KEYS[2], KEYS[3]) > 0 then return 'used' end
if ARGV[2] == '1' then
  keep_age()
  redis.call('HSET', KEYS[1], 'filling', ARGV[1])
end
return 'empty'
