-- Part of every script that makes commits, after history.lua and age.lua.

-- A store without an identity is new, or was emptied: it takes the candidate's.
local function name_store(candidate)
  redis.call('HSETNX', KEYS[1], 'layout', '1')
  if redis.call('HSETNX', KEYS[1], 'id', candidate) == 1 then store.id = candidate end
end

-- Counts the commit and keeps its stamp. `from`: nothing before this commit is compared any more.
local function count_commit(commit, stamp, from)
  if from or not store.from then redis.call('HSET', KEYS[1], 'history_from', int(commit)) end
  redis.call('HSET', KEYS[1], 'commits', int(commit))
  redis.call('SETRANGE', HISTORY, commit % SLOTS * STAMP_BYTES, stamp)
  store.commits, store.stamp = commit, stamp
end

local function number_in_meta(field)
  return tonumber(redis.call('HGET', KEYS[1], field) or '0')
end
