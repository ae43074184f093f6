#!lua flags=no-writes
-- The kept output of the newest run.
-- KEYS: 1 meta, 2 outputs (see save-output.lua)
-- ARGV: 1 the last run that counts, or ''
-- Answers the run and the gzip, or nil.
local newest
local most = tonumber(ARGV[1])
for _, run in ipairs(redis.call('HKEYS', KEYS[2])) do
  local number = tonumber(run)
  if (not most or number <= most) and (not newest or number > tonumber(newest)) then newest = run end
end
return newest and { newest, redis.call('HGET', KEYS[2], newest) }
