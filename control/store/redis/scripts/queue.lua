-- Part of every script that changes the queue, after age.lua. Times are ages of the store in microseconds.
--
-- KEYS[2] items    hash    key -> msgpack of { share, due, seq } while it waits, { share, token, again, changed } while
--                          claimed; changed: a commit enqueued it meanwhile
-- KEYS[3] waiting  zset    all scores 0, members <share, with its length><due><seq><key>: the waiting keys of each share,
--                          and 'ready'<group, with its length><turn><share>: the shares of each group whose first key is
--                          due, those served longest ago first
-- KEYS[4] due      zset    waiting key -> due
-- KEYS[5] groups   zset    group (tenant) with a share whose first key is due -> turn in which it was last served
-- KEYS[6] later    zset    share whose first key is not due yet -> due of that key
-- KEYS[7] leased   zset    claimed key -> end of its lease
-- KEYS[8] turns    hash    'share '<share>, 'group '<group> -> turn in which it was last served;
--                          'ready '<share> -> its member 'ready'... of `waiting`
-- KEYS[9] wakes    stream  one entry, renewed whenever somebody who waits should look again: commits, queue_seq
-- KEYS[10] parked  hash    waiting key that was put aside -> "<wall clock ms since when> <reason>"
local ITEMS, WAITING, DUE, GROUPS, LATER = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local LEASED, TURNS, WAKES, PARKED = KEYS[7], KEYS[8], KEYS[9], KEYS[10]

-- Groups that were never served come before all that were (turns are 1 and more), by the time their first key was due.
local NEVER_SERVED = -9000000000000000
-- Widths of due and seq in a member, which make its order that of the numbers.
local DUE_DIGITS, SEQ_DIGITS = 16, 12

local function item_of(key)
  local packed = redis.call('HGET', ITEMS, key)
  return packed and cmsgpack.unpack(packed)
end

local function keep(key, item)
  redis.call('HSET', ITEMS, key, cmsgpack.pack(item))
end

local function prefix_of(share)
  return #share .. ':' .. share
end

local function member_of(key, item)
  return prefix_of(item.share) .. string.format('%016.0f%012.0f', item.due, item.seq) .. key
end

-- The tenant, for the share of a user: see core/queue.ts.
local function group_of(share)
  return string.match(share, '^([^/]*)/') or share
end

-- The first waiting key of a share and when it is due; nil when none waits.
local function head_of(share)
  local prefix = prefix_of(share)
  local member = redis.call('ZRANGE', WAITING, '[' .. prefix, '(' .. prefix .. '\255', 'BYLEX', 'LIMIT', 0, 1)[1]
  if not member then return nil end
  local numbers = #prefix + DUE_DIGITS + SEQ_DIGITS
  return string.sub(member, numbers + 1), tonumber(string.sub(member, #prefix + 1, #prefix + DUE_DIGITS))
end

-- What the members of a group's ready shares begin with.
local function ready_prefix_of(group)
  return 'ready' .. prefix_of(group)
end

-- The share of a group whose turn it is, and when its first key was due (nil: it was served before); nil when none is ready.
local function ready_share_of(group)
  local prefix = ready_prefix_of(group)
  local member = redis.call('ZRANGE', WAITING, '[' .. prefix, '(' .. prefix .. '\255', 'BYLEX', 'LIMIT', 0, 1)[1]
  if not member then return nil end
  local order = string.sub(member, #prefix + 1, #prefix + 1 + DUE_DIGITS)
  local due = string.sub(order, 1, 1) == '0' and tonumber(string.sub(order, 2)) or nil
  return string.sub(member, #prefix + #order + 1), due
end

-- Among the shares of its group: those never served first, by the time their first key was due, then by their turns.
local function ready_member_of(share, due)
  local turn = tonumber(redis.call('HGET', TURNS, 'share ' .. share))
  local order = turn and string.format('1%016.0f', turn) or string.format('0%016.0f', due)
  return ready_prefix_of(group_of(share)) .. order .. share
end

-- To be called when the first key of the share may have changed, or become due.
local function place_share(share)
  local key, due = head_of(share)
  local member = key and due <= age_us and ready_member_of(share, due)
  local former = redis.call('HGET', TURNS, 'ready ' .. share)
  if former and former ~= member then
    redis.call('ZREM', WAITING, former)
    redis.call('HDEL', TURNS, 'ready ' .. share)
  end
  if member and former ~= member then
    redis.call('ZADD', WAITING, 0, member)
    redis.call('HSET', TURNS, 'ready ' .. share, member)
  end
  if key and not member then
    redis.call('ZADD', LATER, int(due), share)
  else
    redis.call('ZREM', LATER, share)
  end

  local group = group_of(share)
  local first, first_due = ready_share_of(group)
  if first then
    local turn = redis.call('HGET', TURNS, 'group ' .. group)
    redis.call('ZADD', GROUPS, turn or int(NEVER_SERVED + (first_due or 0)), group)
  else
    redis.call('ZREM', GROUPS, group)
  end
end

-- `seq` orders keys that are due at the same time; without one the key goes behind all others of that time.
local function start_waiting(key, share, due, seq)
  local item = { share = share, due = due, seq = seq or redis.call('HINCRBY', KEYS[1], 'queue_seq', 1) }
  redis.call('ZADD', WAITING, 0, member_of(key, item))
  redis.call('ZADD', DUE, int(due), key)
  keep(key, item)
  place_share(share)
end

local function stop_waiting(key, item)
  redis.call('ZREM', WAITING, member_of(key, item))
  redis.call('ZREM', DUE, key)
  place_share(item.share)
end

-- Makes the key due; the sooner time wins. Without a share (nil) it stays in the one it has, or gets the common one.
-- Answers whether somebody who waits for a key should look again. Writes nothing when nothing changes. Without `changed`
-- it is a hint, and a parked key stays where it is.
local function enqueue(key, share, due, changed)
  local item = item_of(key)
  if not item then
    start_waiting(key, share or '', due)
    return true
  end
  if item.token then
    local again = math.min(item.again or due, due)
    if again ~= item.again or (share or item.share) ~= item.share or (changed and not item.changed) then
      item.changed = item.changed or changed
      item.again = again
      item.share = share or item.share
      keep(key, item)
    end
    return false
  end
  if redis.call('HEXISTS', PARKED, key) == 1 then
    if not changed then return false end
    redis.call('HDEL', PARKED, key)
  end
  if due < item.due then
    stop_waiting(key, item)
    start_waiting(key, share or item.share, due)
    return true
  end
  if share and share ~= item.share then
    stop_waiting(key, item)
    start_waiting(key, share, item.due, item.seq)
  end
  return false
end

-- The claimed item, when this token holds its lease now.
local function held(key, token)
  local item = item_of(key)
  if not item or item.token ~= token then return nil end
  return tonumber(redis.call('ZSCORE', LEASED, key)) > age_us and item or nil
end

-- Tells those who wait, in every process, that there may be something for them: a commit, or a key. See wake-watch.ts.
local function wake()
  local now = redis.call('HMGET', KEYS[1], 'commits', 'queue_seq')
  redis.call('XADD', WAKES, 'MAXLEN', 1, '*', 'commits', now[1] or '0', 'queue_seq', now[2] or '0')
end
