#!lua flags=allow-oom
-- Makes parked keys due.
-- KEYS: 1 meta, 2-10 the queue (queue.lua)
-- ARGV: 1 key (absent: all of them)
-- Answers how many there were.
keep_age()
local count = 0
for _, key in ipairs(ARGV[1] and { ARGV[1] } or redis.call('HKEYS', PARKED)) do
  if redis.call('HEXISTS', PARKED, key) == 1 then
    enqueue(key, nil, age_us, true)
    count = count + 1
  end
end
if count > 0 then wake() end
return count
