-- Lets go what an operator holds, and what waits for an operator's word: a segment that was billed above its bound, and
-- one that is likely to be late, whose runtime is then not looked at again within its window; in one that never ends, until
-- nothing is reserved any more.
-- request  {segment?, run?, windows, nowMs}; one of the two
-- returns  {queued: [{chunk, segment, epoch}], ended: [reason], left: [reason]}
-- Atomic because a stop that is taken away while its chunks stay held would strand them.
local unknown = unknownWindows()
if unknown then return unknown end
local queued, ended, left = {}, {}, {}
for _, scope in ipairs(redis.call('SMEMBERS', P .. 'stops')) do
  local stop = P .. 'stop:' .. scope
  local reason = get(stop, 'reason')
  local isMeant = q.segment and get(stop, 'segment') == q.segment or q.run and get(stop, 'run') == q.run
  if isMeant and (reason == 'operator' or reason == 'bound_exceeded' or reason == 'budget_runtime' or reason == 'spool_unreadable') then
    local held = redis.call('ZRANGE', stop .. ':held', 0, 0)[1]
    if held and reason == 'budget_runtime' then
      local key = P .. 'chunk:' .. held
      for _, account in ipairs(accountsOf(get(key, 'segment'), get(key, 'client'), get(key, 'run'), q.nowMs)) do
        if account.target == get(stop, 'target') and account.runtimeMs then redis.call('HSET', P .. 'account:' .. account.name, 'runtimeWaived', 'given') end
      end
    end
    for _, each in ipairs(endStop(scope)) do queued[#queued + 1] = each end
    ended[#ended + 1] = reason
    if q.run and reason == 'operator' then redis.call('HSET', P .. 'run:' .. q.run, 'heldAtMs', '') end
  elseif isMeant then
    left[#left + 1] = reason
  end
end
-- Sealed archives of a held run have waited in line.
if #ended > 0 and redis.call('ZCARD', P .. 'sealed') > 0 then due('submit', 'next', q.nowMs) end
return '{"queued":' .. list(queued) .. ',"ended":' .. list(ended) .. ',"left":' .. list(left) .. '}'
