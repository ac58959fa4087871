-- Reads every stop with the room that its account has now.
-- request  {windows, nowMs}
-- returns  [{scope, fields…, tokensFree?, microUsdFree?, runtimeMs?, startedAtMs?, turnaroundMs?, turnaroundsSeen?, queueFillings?, rowsBefore?, queueRowsMax?}]
-- Atomic because a stop and its room are compared by the reader.
local unknown = unknownWindows()
if unknown then return unknown end
local found = {}
for _, scope in ipairs(redis.call('SMEMBERS', P .. 'stops')) do
  local stop = { scope = scope }
  local fields = redis.call('HGETALL', P .. 'stop:' .. scope)
  for index = 1, #fields, 2 do stop[fields[index]] = fields[index + 1] end
  local held = redis.call('ZRANGE', P .. 'stop:' .. scope .. ':held', 0, 0)[1]
  if held then
    local key = P .. 'chunk:' .. held
    for _, account in ipairs(accountsOf(get(key, 'segment'), get(key, 'client'), get(key, 'run'), q.nowMs)) do
      if account.target == stop.target then
        local tokensFree, microUsdFree = roomOf(account)
        -- In upper bounds, as everything else that is said of a stop.
        local tokensPermille, microUsdPermille = sharesIn(account, key)
        if tokensFree then stop.tokensFree = int(math.floor(tokensFree * 1000 / tokensPermille)) end
        if microUsdFree then stop.microUsdFree = int(math.floor(microUsdFree * 1000 / microUsdPermille)) end
        if stop.reason == 'budget_runtime' and account.runtimeMs then
          local expectedMs, seen = turnaroundOf(get(key, 'segment'))
          stop.runtimeMs, stop.startedAtMs = int(account.runtimeMs), int(startedAt(account, q.nowMs))
          stop.turnaroundMs, stop.turnaroundsSeen = int(expectedMs or dayMs), int(seen)
          local fillings, before, room = fillingsBefore(key)
          stop.queueFillings, stop.rowsBefore, stop.queueRowsMax = int(fillings), int(before), int(room)
        end
      end
    end
  end
  found[#found + 1] = stop
end
return list(found)
