#!lua flags=no-writes
-- The kept output of the newest run.
-- KEYS: 1 meta, 2 outputs (see save-output.lua)
-- Answers the gzip, or nil.
local newest
for _, run in ipairs(redis.call('HKEYS', KEYS[2])) do
  if not newest or tonumber(run) > tonumber(newest) then newest = run end
end
return newest and redis.call('HGET', KEYS[2], newest)
