-- Looks at a lane whose owner may be gone.
-- request  {account, nowMs}
-- returns  {kind: "free" | "held" | "refused" | "in_doubt", untilMs}
-- What was not sent is refused: its last byte never left and never can, because the gate is shut for the old owner from
-- this script on. What was sent is in doubt. Atomic because the old owner may be opening the gate at this very moment.
local lane = P .. 'lane:' .. q.account
local intent = get(lane, 'intent')
if intent == '' then return '{"kind":"free","untilMs":0}' end
if num(lane, 'untilMs') > q.nowMs then return reply({ kind = 'held', untilMs = num(lane, 'untilMs') }) end
local key = P .. 'intent:' .. intent
if target('intent', key, 'doubt') then
  doubt(intent, 'owner_lost', q.nowMs)
  return '{"kind":"in_doubt","untilMs":0}'
end
local archive = get(key, 'archive')
change('intent', key, 'refuse', 'owner_lost')
change('archive', P .. 'archive:' .. archive, 'refuse', 'owner_lost')
leaveProviderQueue(q.account, archive)
freeLane(q.account, q.nowMs)
queueSealed(archive, q.nowMs)
return '{"kind":"refused","untilMs":0}'
