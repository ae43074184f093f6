#!lua flags=no-writes
-- The kept output of the newest run.
-- KEYS: 1 meta, 2 outputs (see save-output.lua)
-- ARGV: 1 the last run that counts, or ''
-- Answers the run, the gzip and the parts appended since (a gzip each, '' when there are none), or nil.
local newest
local most = tonumber(ARGV[1])
for _, run in ipairs(redis.call('HKEYS', KEYS[2])) do
  local number = tonumber(run)
  if number and (not most or number <= most) and (not newest or number > tonumber(newest)) then newest = run end
end
if not newest then return nil end
local tail = redis.call('HGET', KEYS[2], newest .. ':tail') or ''
return { newest, redis.call('HGET', KEYS[2], newest), string.sub(tail, 9) }
