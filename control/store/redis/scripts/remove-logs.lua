#!lua flags=allow-oom
-- Forgets what is kept of a pod's logs.
-- KEYS: 1 meta, 2 lines (see append-action.lua), 3 outputs (see save-output.lua)
return redis.call('UNLINK', KEYS[2], KEYS[3])
