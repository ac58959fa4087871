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

-- When the work of an account began within its window. An account whose window never ends begins anew whenever nothing
-- of it is reserved: its runtime is that of one stretch of work.
local function startedAt(account, at)
  local key = P .. 'account:' .. account.name
  local isEndless = string.sub(account.name, -6) == '@total'
  if isEndless and num(key, 'tokensReserved') == 0 then return at end
  local started = num(key, 'startedAtMs')
  return started > 0 and started or at
end

-- How often the provider's queue has to be filled until a chunk that is admitted now has been processed: what is in the
-- queue, what is sealed and goes before it (its own priority as a whole, because shares may still put it last), and what its
-- run has packed since. How many rows the queue takes is known from the first intent on; before that it is one filling.
-- Returns the fillings, the rows before the chunk and the room of the queue. O(archives in line).
local function fillingsBefore(key)
  local before, room = 0, 0
  for _, account in ipairs(redis.call('SMEMBERS', P .. 'lanes')) do
    before = before + num(P .. 'lane:' .. account, 'rowsEnqueued')
    room = math.max(room, num(P .. 'lane:' .. account, 'queueRowsMax'))
  end
  local rank = ranks[priorityOf(get(key, 'segment'))]
  for _, archive in ipairs(redis.call('ZRANGEBYSCORE', P .. 'sealed', '-inf', '(' .. int((rank + 1) * 1e15))) do
    before = before + num(P .. 'archive:' .. archive, 'rows')
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
  if not account.runtimeMs or get(P .. 'account:' .. account.name, 'runtimeWaived') == '1' then return false end
  local expectedMs = turnaroundOf(get(key, 'segment')) or (account.onLate == 'cancel' and 0 or dayMs)
  return at + expectedMs * fillingsBefore(key) > startedAt(account, at) + account.runtimeMs
end
