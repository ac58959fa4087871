-- Notes that the provider has finished a batch. Its rows leave the provider's queue, so the next archive may have room.
-- request  {archive, reason?, nowMs}
-- returns  {isEnded}
-- Atomic because the room must be given back exactly once.
local key = P .. 'archive:' .. q.archive
if not target('archive', key, 'end') then return '{"isEnded":false}' end
change('archive', key, 'end', q.reason)
redis.call('HSET', key, 'endedAtMs', int(q.nowMs))
leaveProviderQueue(get(key, 'account'), q.archive)
undue('track', q.archive)
due('settle', q.archive, q.nowMs)
if redis.call('ZCARD', P .. 'sealed') > 0 then due('submit', 'next', q.nowMs) end
return '{"isEnded":true}'
