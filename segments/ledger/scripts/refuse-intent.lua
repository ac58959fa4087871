-- Ends an intent that made no batch; its archive may be tried again.
-- request  {intent, reason, pauseUntilMs?, asideUntilMs?, nowMs}; until when the account rests, and until when the archive alone
--          stays in line while the others go
-- returns  {isRefused}
-- Atomic because the archive must not be in line while its lane is still taken. A refusal that comes after the lane was
-- given up is still a proof, so it resolves the doubt.
local key = P .. 'intent:' .. q.intent
local state = get(key, 'state')
local isDoubt = target('intent', key, 'absolve') ~= nil
if state ~= 'refused' and state ~= 'absent' and not isDoubt and not target('intent', key, 'refuse') then
  return '{"isRefused":false}'
end
local archive, account = get(key, 'archive'), get(key, 'account')
local lane = P .. 'lane:' .. account
restLane(account, q.pauseUntilMs, q.reason)
if state == 'refused' or state == 'absent' then return '{"isRefused":true}' end
local archiveKey = P .. 'archive:' .. archive
if isDoubt then
  change('intent', key, 'absolve', q.reason)
  change('archive', archiveKey, 'absolve', q.reason)
  leaveDoubt(archive, q.nowMs)
else
  change('intent', key, 'refuse', q.reason)
  change('archive', archiveKey, 'refuse', q.reason)
end
if q.asideUntilMs then
  redis.call('HSET', archiveKey, 'asideUntilMs', int(q.asideUntilMs))
  add(archiveKey, 'asides', 1)
end
leaveProviderQueue(account, archive)
if get(lane, 'intent') == q.intent then freeLane(account, q.nowMs) end
queueSealed(archive, q.pauseUntilMs or q.nowMs)
return '{"isRefused":true}'
