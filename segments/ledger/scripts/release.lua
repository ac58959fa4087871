-- Gives a claim up; the entity stays due from `dueAtMs` on if it is still due at all.
-- request  {stage, entity, owner, dueAtMs?}
-- returns  {isReleased}
-- Atomic because the claim may have passed to another worker.
local dueKey, field = P .. 'due:' .. q.stage, q.stage .. '|' .. q.entity
if get(P .. 'claims', field) ~= q.owner then return '{"isReleased":false}' end
redis.call('HDEL', P .. 'claims', field)
if q.dueAtMs and redis.call('ZSCORE', dueKey, q.entity) then redis.call('ZADD', dueKey, int(q.dueAtMs), q.entity) end
return '{"isReleased":true}'
