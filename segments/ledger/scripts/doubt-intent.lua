-- Notes that nobody can say whether an intent made a batch. Its reservation and its place in the provider's queue stay.
-- request  {intent, reason, fencedAtMs?, pauseUntilMs?, nowMs}; fencedAtMs: since when its sender can certainly send nothing
--          more; pauseUntilMs: until when the account rests, because the reply spoke of trouble
-- returns  {isInDoubt}
-- Atomic because the archive must not be posted again between the two states.
local key = P .. 'intent:' .. q.intent
restLane(get(key, 'account'), q.pauseUntilMs, q.reason)
local function fence()
  if q.fencedAtMs and get(key, 'fencedAtMs') == '' then
    redis.call('HSET', key, 'fencedAtMs', int(q.fencedAtMs), 'fence', 'call_ended')
  end
end
-- It was adopted meanwhile on weaker evidence; should that turn out wrong, its sender is known to be finished.
if get(key, 'state') == 'adopted' then fence() end
if get(key, 'state') == 'in_doubt' or get(key, 'state') == 'held' then
  fence()
  return '{"isInDoubt":true}'
end
if not target('intent', key, 'doubt') then return '{"isInDoubt":false}' end
doubt(q.intent, q.reason, q.nowMs)
fence()
return '{"isInDoubt":true}'
