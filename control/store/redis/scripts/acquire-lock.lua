#!lua flags=allow-oom
-- Takes a lock that nobody holds.
-- KEYS: 1 meta, 2 locks: hash name -> "<age of the store in us when the lease ends> <token>"
-- ARGV: 1 name, 2 token, 3 lease in ms, 4 the greatest fence that the caller has been given
-- Answers the fence, or 0 when another lease lives.
local lock = redis.call('HGET', KEYS[2], ARGV[1])
if lock and tonumber(string.match(lock, '^%d+')) > age_us then return 0 end

keep_age()
-- At least the wall clock: a restored store has forgotten the fences given since the copy was made, but they were no
-- greater than the time then. One more than the last that anybody here knows, should the clock go back or two be given in
-- a millisecond.
local last = tonumber(redis.call('HGET', KEYS[1], 'fence_given') or '0')
local fence = math.max(last + 1, tonumber(ARGV[4]) + 1, math.floor(wall_us / 1000))
redis.call('HSET', KEYS[1], 'fence_given', int(fence))
redis.call('HSET', KEYS[2], ARGV[1], int(age_us + tonumber(ARGV[3]) * 1000) .. ' ' .. ARGV[2])
return fence
