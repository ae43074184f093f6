#!lua flags=allow-oom
-- Ends a claim whose work is done. A key that was added meanwhile waits again, not in front of those due before.
-- KEYS: 1 meta, 2-10 the queue (queue.lua)
-- ARGV: 1 key, 2 token
-- Answers 1, or 0 when the token no longer holds the lease.
keep_age()
local item = held(ARGV[1], ARGV[2])
if not item then return 0 end
redis.call('ZREM', LEASED, ARGV[1])
if item.again then
  start_waiting(ARGV[1], item.share, math.max(item.again, age_us))
  wake()
else
  redis.call('HDEL', ITEMS, ARGV[1])
end
return 1
