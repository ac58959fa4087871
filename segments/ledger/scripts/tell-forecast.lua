-- Tells that a limit of a budget will probably be used up before its window ends.
-- request  {target, account, unit: "tokens"|"micro_usd", limit, exceedsAtMs, exceedsBy, chancePercent, nowMs}
-- returns  {isTold}; false: it was told for this window and limit, or the budget has another limit by now
-- Atomic because every worker foresees the same, and it is told once for each window and limit.
local field = q.unit == 'tokens' and 'tokens' or 'microUsd'
local key = P .. 'account:' .. q.account
if tonumber(get(P .. 'budget:' .. q.target, field)) ~= q.limit then return '{"isTold":false}' end
for _, level in ipairs({ 'forecast:', 'exceeded:' }) do
  if get(key, level .. field) == int(q.limit) then return '{"isTold":false}' end
end
redis.call('SADD', P .. 'accounts', q.account)
redis.call('HSET', key, 'forecast:' .. field, int(q.limit))
emit('budget:' .. q.account .. ':' .. field .. ':forecast:' .. int(q.limit), 'budget.forecast', q.target, q.nowMs,
  { target = q.target, account = q.account, unit = q.unit, limit = q.limit, spent = num(key, field .. 'Spent'), reserved = num(key, field .. 'Reserved'),
    exceeds_at_ms = q.exceedsAtMs, exceeds_by = q.exceedsBy, chance_percent = q.chancePercent })
return '{"isTold":true}'
