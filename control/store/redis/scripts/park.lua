#!lua
-- Ends a claim whose work failed again and again: the key is put aside for a long while.
-- KEYS: 1 meta, 2-10 the queue (queue.lua)
-- ARGV: 1 key, 2 token, 3 for how many ms, 4 reason
-- Answers 1, or 0 when the token no longer holds the lease.
keep_age()
local item = held(ARGV[1], ARGV[2])
if not item then return 0 end
redis.call('ZREM', LEASED, ARGV[1])
if item.changed then
  start_waiting(ARGV[1], item.share, age_us)
else
  start_waiting(ARGV[1], item.share, age_us + tonumber(ARGV[3]) * 1000)
  redis.call('HSET', PARKED, ARGV[1], int(wall_us / 1000) .. ' ' .. ARGV[4])
end
wake()
return 1
