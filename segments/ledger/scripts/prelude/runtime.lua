-- Runtime budgets: how long an archive has to be expected to take, and whether work that begins now ends too late.

-- How long an archive of a segment has to be expected to take, from its opening to its settlement: the longest that was
-- seen lately, with a margin that shrinks as more were seen; of the segment itself, else of the whole installation.
-- nil: nothing was seen yet.
local dayMs = 86400000
local function turnaroundOf(segment)
  for _, name in ipairs({ segment, 'all' }) do
    local seen = redis.call('LRANGE', P .. 'turnaround:' .. name, 0, -1)
    local longest = 0
    for _, ms in ipairs(seen) do longest = math.max(longest, tonumber(ms)) end
    if #seen > 0 then return math.min(math.floor(longest * (1 + 2 / #seen)), dayMs), #seen end
  end
  return nil, 0
end

-- Whether what is admitted now begins a new stretch of work. An account whose window never ends begins anew whenever nothing
-- of it is reserved: its runtime is that of one stretch of work.
local function isBeginning(account)
  return string.sub(account.name, -6) == '@total' and num(P .. 'account:' .. account.name, 'tokensReserved') == 0
end

-- When the work of an account began within its window.
local function startedAt(account, at)
  local started = num(P .. 'account:' .. account.name, 'startedAtMs')
  if isBeginning(account) or started == 0 then return at end
  return started
end

-- Whether an operator let the work of an account go whatever its runtime says: `given` until something is admitted on that
-- word, which may be into a stretch that only begins then, and `used` from there on, within the same stretch or window.
local function isWaived(account)
  local word = get(P .. 'account:' .. account.name, 'runtimeWaived')
  return word == 'given' or (word == 'used' and not isBeginning(account))
end

-- Notes on an admission, before its reservation, that the operator's word is used; a stretch after that one needs another.
local function useWaiver(account)
  local key = P .. 'account:' .. account.name
  if get(key, 'runtimeWaived') == '' then return end
  if isWaived(account) then redis.call('HSET', key, 'runtimeWaived', 'used') else redis.call('HDEL', key, 'runtimeWaived') end
end

-- How often the provider's queue has to be filled until a chunk that is admitted now has been processed: what is in the
-- queue, what is sealed and goes before it (its own priority as a whole, because shares may still put it last; nothing of the other
-- side, which has another queue), and what its
-- run has packed since. How many rows the queue takes is known from the first intent on; before that it is one filling.
-- Returns the fillings, the rows before the chunk and the room of the queue. O(archives in line).
local function fillingsBefore(key)
  local before, room = 0, 0
  for _, account in ipairs(redis.call('SMEMBERS', P .. 'lanes')) do
    before = before + num(P .. 'lane:' .. account, 'rowsEnqueued')
    room = math.max(room, num(P .. 'lane:' .. account, 'queueRowsMax'))
  end
  local rank = ranks[priorityOf(get(key, 'segment'))]
  local side = get(P .. 'run:' .. get(key, 'run'), 'side')
  for _, archive in ipairs(redis.call('ZRANGEBYSCORE', P .. 'sealed', '-inf', '(' .. int((rank + 1) * 1e15))) do
    if not areApart(sideOf(archive), side) then before = before + num(P .. 'archive:' .. archive, 'rows') end
  end
  for _, archive in ipairs(redis.call('HVALS', P .. 'run:' .. get(key, 'run') .. ':open')) do
    before = before + num(P .. 'archive:' .. archive, 'rows')
  end
  if room == 0 then return 1, before, room end
  return math.max(1, math.ceil((before + num(key, 'rows')) / room)), before, room
end

-- Whether a chunk that is admitted now is likely to end after the runtime of its account: each filling of the provider's
-- queue up to its own takes at most one turnaround. What was never seen is expected to take a day, which is as long as the
-- provider may take; but where a late batch is canceled the work may begin, because then it ends in time whatever happens.
local function isLate(account, key, at)
  if not account.runtimeMs or isWaived(account) then return false end
  local expectedMs = turnaroundOf(get(key, 'segment')) or (account.onLate == 'cancel' and 0 or dayMs)
  return at + expectedMs * fillingsBefore(key) > startedAt(account, at) + account.runtimeMs
end
