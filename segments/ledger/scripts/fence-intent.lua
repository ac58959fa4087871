-- Notes since when the sender of an intent in doubt can certainly send nothing more: the landing wait begins.
-- request  {intent, fence, nowMs}
-- returns  {isFenced}
-- Atomic because the earliest proof holds; a later one would only make the wait longer.
local key = P .. 'intent:' .. q.intent
if not target('intent', key, 'absolve') then return '{"isFenced":false}' end
if get(key, 'fencedAtMs') == '' then redis.call('HSET', key, 'fencedAtMs', int(q.nowMs), 'fence', q.fence) end
return '{"isFenced":true}'
