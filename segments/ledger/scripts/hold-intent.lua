-- Leaves a doubt to a person: it is never declared absent by itself from now on.
-- request  {intent, reason, nowMs}
-- returns  {isHeld}
-- Atomic because the adopter may be about to declare it absent.
local key = P .. 'intent:' .. q.intent
if get(key, 'state') == 'held' then
  -- What waits because its sender cannot be seen may be given up by a setting; what a person keeps may not.
  if q.reason == 'operator' then redis.call('HSET', key, 'reason', q.reason) end
  return '{"isHeld":true}'
end
if not target('intent', key, 'hold') then return '{"isHeld":false}' end
change('intent', key, 'hold', q.reason)
redis.call('HSET', key, 'heldAtMs', int(q.nowMs))
local archive = get(key, 'archive')
emit(archive .. ':held:' .. q.intent, 'batch.held', archive, q.nowMs,
  { run_key = get(P .. 'archive:' .. archive, 'run'), archive = archive, intent = q.intent, reason = q.reason })
return '{"isHeld":true}'
