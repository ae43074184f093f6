#!lua flags=no-writes
-- Counts the queue.
-- KEYS: 1 meta, 2-10 the queue (queue.lua)
-- Answers due, delayed, leased, parked.
local expired = redis.call('ZCOUNT', LEASED, '-inf', int(age_us))
local due = redis.call('ZCOUNT', DUE, '-inf', int(age_us))
local delayed, parked = redis.call('ZCARD', DUE) - due, 0
-- Few. One whose time has come is due like any other.
for _, key in ipairs(redis.call('HKEYS', PARKED)) do
  if tonumber(redis.call('ZSCORE', DUE, key)) > age_us then parked = parked + 1 end
end
return { due + expired, delayed - parked, redis.call('ZCARD', LEASED) - expired, parked }
