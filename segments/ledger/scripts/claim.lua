-- Claims something that is due for one worker. The claim's end is its new due time, so a worker that dies is followed
-- by another without anybody having to notice the death.
-- request  {stage, entity, owner, leaseMs, nowMs}
-- returns  {isClaimed}
-- Atomic because two workers wake for the same entity.
local dueKey, field = P .. 'due:' .. q.stage, q.stage .. '|' .. q.entity
local dueAt = redis.call('ZSCORE', dueKey, q.entity)
if not dueAt then return '{"isClaimed":false}' end
local owner = get(P .. 'claims', field)
if owner ~= '' and owner ~= q.owner and tonumber(dueAt) > q.nowMs then return '{"isClaimed":false}' end
redis.call('HSET', P .. 'claims', field, q.owner)
redis.call('ZADD', dueKey, int(q.nowMs + q.leaseMs), q.entity)
return '{"isClaimed":true}'
