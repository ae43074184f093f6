#!lua flags=allow-oom
-- Ends a claim whose work is to be tried again. A key that was added meanwhile may be due sooner.
-- KEYS: 1 meta, 2-10 the queue (queue.lua)
-- ARGV: 1 key, 2 token, 3 delay in ms
-- Answers 1, or 0 when the token no longer holds the lease.
keep_age()
local item = held(ARGV[1], ARGV[2])
if not item then return 0 end
local due = age_us + tonumber(ARGV[3]) * 1000
if item.again then due = math.min(due, math.max(item.again, age_us)) end
redis.call('ZREM', LEASED, ARGV[1])
start_waiting(ARGV[1], item.share, due)
wake()
return 1
