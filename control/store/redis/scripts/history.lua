-- Part of every script, before all others: is this the store that the caller has seen? See core/store.ts (StoreMark) and
-- decision 0028.
-- KEYS: the first is the hash `meta`, the last is
--   history  string  a ring of the stamps of the last commits: that of commit n is at (n modulo SLOTS) * STAMP_BYTES
-- ARGV: the last three are the mark: id of the store ('' = none has been seen), commits, stamp ('' = not known)
-- Every script answers { verdict, id or '', commits, stamp of the last commit, its own answer }. One that writes is not run,
-- and has no answer of its own, unless the verdict is 'same'.
local SLOTS, STAMP_BYTES = 131072, 8

local seen_stamp = table.remove(ARGV)
local seen_commits = tonumber(table.remove(ARGV))
local seen_id = table.remove(ARGV)
local HISTORY = table.remove(KEYS)

local store = redis.call('HMGET', KEYS[1], 'id', 'commits', 'history_from', 'replaces')
store = { id = store[1], commits = tonumber(store[2] or '0'), from = tonumber(store[3]), replaces = store[4] or '[]' }

local function stamp_of(commit)
  local at = commit % SLOTS * STAMP_BYTES
  return redis.call('GETRANGE', HISTORY, at, at + STAMP_BYTES - 1)
end
store.stamp = stamp_of(store.commits)

-- Is the stamp of this commit known? Those before an adoption, or too long ago, are not: their number must do.
local function is_kept(commit)
  return store.from and commit >= store.from and commit > store.commits - SLOTS
end

local function verdict()
  if seen_id == '' then return 'same' end
  if not store.id then return 'empty' end
  if seen_id ~= store.id then
    for _, other in ipairs(cjson.decode(store.replaces)) do
      if other == seen_id then return 'same' end
    end
    return 'other'
  end
  if seen_commits > store.commits then return 'older' end
  if seen_stamp == '' or not is_kept(seen_commits) then return 'same' end
  local stamp = seen_commits == store.commits and store.stamp or stamp_of(seen_commits)
  return stamp == seen_stamp and 'same' or 'parted'
end
local verdict = verdict()
