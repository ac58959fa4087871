-- Lets go what is held by a budget whose account has room, or time, for the next prompt again, and a chunk that could not be
-- read when it is to be tried again.
-- request  {windows, nowMs}
-- returns  [{chunk, segment, epoch}]
-- Atomic because a stop that is taken away while its chunks stay held would strand them.
local unknown = unknownWindows()
if unknown then return unknown end
local queued = {}
for _, scope in ipairs(redis.call('SMEMBERS', P .. 'stops')) do
  local stop = P .. 'stop:' .. scope
  local reason = get(stop, 'reason')
  if reason == 'spool_unreadable' and (num(stop, 'untilMs') <= q.nowMs or redis.call('EXISTS', stop .. ':held') == 0) then
    for _, each in ipairs(endStop(scope)) do queued[#queued + 1] = each end
  elseif reason == 'budget_tokens' or reason == 'budget_cost' or reason == 'budget_runtime' then
    local held = redis.call('ZRANGE', stop .. ':held', 0, 0)[1]
    local isFree = true
    if held then
      local key = P .. 'chunk:' .. held
      for _, account in ipairs(accountsOf(get(key, 'segment'), get(key, 'client'), get(key, 'run'), q.nowMs)) do
        local tokensFree, microUsdFree = roomOf(account)
        local tokensPermille, microUsdPermille = sharesIn(account, key)
        if not keepsUp(account, stop) then
          -- It is looked at when the chunk is tried again.
        elseif reason == 'budget_runtime' then
          if account.target == get(stop, 'target') and isLate(account, key, q.nowMs) then isFree = false end
        elseif (tokensFree and shareOf(num(stop, 'tokensNeeded'), tokensPermille) > tokensFree) or (microUsdFree and shareOf(num(stop, 'microUsdNeeded'), microUsdPermille) > microUsdFree) then isFree = false end
      end
    end
    if isFree then
      for _, each in ipairs(endStop(scope)) do queued[#queued + 1] = each end
    end
  end
end
return list(queued)
