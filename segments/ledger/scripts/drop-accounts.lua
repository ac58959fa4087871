-- Forgets accounts of windows that are over: nothing can be reserved in them again.
-- request  {accounts: [{name, run?}], keptMs, nowMs}; the window of one without a run ended `keptMs` ago
-- returns  {kept: [name]}: those that something is reserved in, or whose run has not been over for so long
-- Atomic because a settlement must not book into an account between the look and the removal: its money would be lost.
local kept = {}
for _, each in ipairs(q.accounts) do
  local key = P .. 'account:' .. each.name
  local isOver = num(key, 'tokensReserved') == 0 and num(key, 'microUsdReserved') == 0
  if isOver and each.run then
    local run = P .. 'run:' .. each.run
    local state = get(run, 'state')
    isOver = (state == 'complete' or state == 'canceled') and math.max(num(run, 'completedAtMs'), num(key, 'startedAtMs')) + q.keptMs <= q.nowMs
  end
  if isOver then
    redis.call('SREM', P .. 'accounts', each.name)
    redis.call('DEL', key)
  else
    kept[#kept + 1] = each.name
  end
end
return '{"kept":' .. list(kept) .. '}'
