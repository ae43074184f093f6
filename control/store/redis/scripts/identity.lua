#!lua flags=allow-oom
-- Who the store is; a new one gets its identity.
-- KEYS: 1 meta
-- ARGV: 1 an id for a store that has none
-- Answers layout, JSON array of the ids of the stores it replaces, '1' while it is being filled from another store.
if seen_id == '' then name_store(ARGV[1]) end
return { number_in_meta('layout'), store.replaces, redis.call('HEXISTS', KEYS[1], 'filling') == 1 and '1' or '' }
