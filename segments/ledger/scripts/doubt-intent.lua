-- Notes that nobody can say whether an intent made a batch. Its reservation and its place in the provider's queue stay.
-- request  {intent, reason, nowMs}
-- returns  {isInDoubt}
-- Atomic because the archive must not be posted again between the two states.
local key = P .. 'intent:' .. q.intent
if get(key, 'state') == 'in_doubt' then return '{"isInDoubt":true}' end
if not target('intent', key, 'doubt') then return '{"isInDoubt":false}' end
doubt(q.intent, q.reason, q.nowMs)
return '{"isInDoubt":true}'
