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

-- Whether work that is begun now is likely to end after the runtime of its account. What was never seen is expected to
-- take a day, which is as long as the provider may take; but where a late batch is canceled the work may begin, because
-- then it ends in time whatever happens.
local function isLate(account, segment, at)
  if not account.runtimeMs or get(P .. 'account:' .. account.name, 'runtimeWaived') == '1' then return false end
  local expectedMs = turnaroundOf(segment) or (account.onLate == 'cancel' and 0 or dayMs)
  return at + expectedMs > startedAt(account, at) + account.runtimeMs
end
