-- Notes that this ledger has forgotten what the lake knows: no intent is prepared and no gate opens any more.
-- request  {reason, nowMs}
-- returns  {isFirst}
-- Atomic because the event belongs to the first one who finds out.
local key = P .. 'standing'
if get(key, 'behind') ~= '' then return '{"isFirst":false}' end
redis.call('HSET', key, 'behind', q.reason, 'behindAtMs', int(q.nowMs))
emit('ledger:behind:' .. int(q.nowMs), 'ledger.behind', 'ledger', q.nowMs, { reason = q.reason })
return '{"isFirst":true}'
