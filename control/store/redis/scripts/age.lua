-- Part of every script that needs the time. KEYS[1] is the hash `meta`.
--
-- The store's age, in microseconds: made of the steps of the server's clock (TIME), of which one that goes back counts
-- nothing and one that goes ahead counts 30 s at most. So a clock that is put right neither ends every lease nor leaves
-- a dead holder's lease standing for hours. The age stands still while nobody uses the store.
local MOST_STEP_US = 30000000
local KEEP_EVERY_US = 1000000

local time = redis.call('TIME')
local wall_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local clock = redis.call('HMGET', KEYS[1], 'age', 'wall')
local age_us = tonumber(clock[1] or '0')
local step_us = wall_us - tonumber(clock[2] or time[1] .. '000000')
age_us = age_us + math.max(0, math.min(step_us, MOST_STEP_US))

-- Lua's own conversion would write large numbers with an exponent.
local function int(number)
  return string.format('%.0f', number)
end

-- Before any other write of a script. Now and then is enough: in between, the age follows from the clock.
local function keep_age()
  if not clock[2] or step_us < 0 or step_us >= KEEP_EVERY_US then
    redis.call('HSET', KEYS[1], 'age', int(age_us), 'wall', int(wall_us))
  end
end
