-- Part of every script that must know whose store this is. KEYS[1] is the hash `meta`.

-- A store without an identity is new, or was emptied: it takes the candidate's.
local function store_id(candidate)
  redis.call('HSETNX', KEYS[1], 'layout', '1')
  redis.call('HSETNX', KEYS[1], 'id', candidate)
  return redis.call('HGET', KEYS[1], 'id')
end

local function number_in_meta(field)
  return tonumber(redis.call('HGET', KEYS[1], field) or '0')
end
