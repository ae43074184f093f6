#!lua flags=allow-oom
-- Has this run of the server had its append-only file from the start?
-- KEYS: 1 meta
-- ARGV: 1 the run id of the server, 2 '1' if its counters show that now
-- Answers '1' if it is known, '1' if the store is new.
if ARGV[2] == '1' and store.id and verdict == 'same' then
  if redis.call('HGET', KEYS[1], 'aof_run') ~= ARGV[1] then redis.call('HSET', KEYS[1], 'aof_run', ARGV[1]) end
end
local is_known = ARGV[2] == '1' or redis.call('HGET', KEYS[1], 'aof_run') == ARGV[1]
return { is_known and '1' or '', store.id and '' or '1' }
