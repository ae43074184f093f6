#!lua flags=allow-oom
-- Claims the key whose turn it is: of the group served longest ago, the share served longest ago, and of that the key
-- that became due first.
-- KEYS: 1 meta, 2-10 the queue (queue.lua)
-- ARGV: 1 token, 2 lease in ms
-- Answers the key, or how many ms to wait before the next can be due (-1: until somebody adds one).
local MOST_IDLE_SHARES = 1000

keep_age()

-- An expired claim is settled: its key became due when the lease ended.
for _, key in ipairs(redis.call('ZRANGE', LEASED, '-inf', int(age_us), 'BYSCORE')) do
  local ended = tonumber(redis.call('ZSCORE', LEASED, key))
  redis.call('ZREM', LEASED, key)
  start_waiting(key, item_of(key).share, ended)
end
for _, share in ipairs(redis.call('ZRANGE', LATER, '-inf', int(age_us), 'BYSCORE')) do place_share(share) end

local group = redis.call('ZRANGE', GROUPS, 0, 0)[1]
if not group then
  -- Bounds what is remembered, not the fairness: nothing is due now.
  if redis.call('HLEN', TURNS) > MOST_IDLE_SHARES then redis.call('DEL', TURNS) end
  local nearest = -1
  for _, set in ipairs({ LATER, LEASED }) do
    local first = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')[2]
    local ms = first and math.max(0, math.ceil((tonumber(first) - age_us) / 1000))
    if ms and (nearest < 0 or ms < nearest) then nearest = ms end
  end
  return nearest
end

local share = ready_share_of(group)
local key = head_of(share)
local turn = redis.call('HINCRBY', KEYS[1], 'queue_turn', 1)
redis.call('HSET', TURNS, 'share ' .. share, turn, 'group ' .. group, turn)
stop_waiting(key, item_of(key))
redis.call('HDEL', PARKED, key)
redis.call('ZADD', LEASED, int(age_us + tonumber(ARGV[2]) * 1000), key)
keep(key, { share = share, token = ARGV[1] })
return key
