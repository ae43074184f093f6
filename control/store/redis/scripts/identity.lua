#!lua flags=allow-oom
-- Who the store is; a new one gets its identity.
-- KEYS: 1 meta
-- ARGV: 1 an id for a store that has none
-- Answers id, number of commits, layout, JSON array of the ids of the stores it replaces,
-- '1' while it is being filled from another store.
local replaces = redis.call('HGET', KEYS[1], 'replaces') or '[]'
return { store_id(ARGV[1]), number_in_meta('commits'), number_in_meta('layout'), replaces,
  redis.call('HEXISTS', KEYS[1], 'filling') == 1 and '1' or '' }
