#!lua
-- Adds a key to the queue.
-- KEYS: 1 meta, 2-10 the queue (queue.lua)
-- ARGV: 1 key, 2 delay in ms, 3 share (absent: see enqueue)
keep_age()
if enqueue(ARGV[1], ARGV[3], age_us + tonumber(ARGV[2]) * 1000) then wake() end
return 1
