#!lua flags=no-writes
-- One record, or tombstone.
-- KEYS: 1 meta, 2 records or tombstones (see commit.lua)
-- ARGV: 1 field
-- Answers what is there, or nil.
return redis.call('HGET', KEYS[2], ARGV[1])
