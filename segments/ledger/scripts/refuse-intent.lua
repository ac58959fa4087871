-- Ends an intent that made no batch; its archive may be tried again.
-- request  {intent, reason, pauseUntilMs?, nowMs}
-- returns  {isRefused}
-- Atomic because the archive must not be in line while its lane is still taken. A refusal that comes after the lane was
-- given up is still a proof, so it resolves the doubt.
local key = P .. 'intent:' .. q.intent
if get(key, 'state') == 'refused' or get(key, 'state') == 'absent' then return '{"isRefused":true}' end
local archive, account = get(key, 'archive'), get(key, 'account')
local archiveKey = P .. 'archive:' .. archive
local run = get(archiveKey, 'run')
if target('intent', key, 'refuse') then
  change('intent', key, 'refuse', q.reason)
  change('archive', archiveKey, 'refuse', q.reason)
elseif get(key, 'state') == 'in_doubt' then
  change('intent', key, 'absolve', q.reason)
  change('archive', archiveKey, 'absolve', q.reason)
  add(P .. 'run:' .. run, 'archivesInDoubt', -1)
  redis.call('SREM', P .. 'doubts', archive)
else
  return '{"isRefused":false}'
end
local lane = P .. 'lane:' .. account
-- A pause that the provider asked for is not cut short by a later, milder one.
if q.pauseUntilMs and q.pauseUntilMs > num(lane, 'pausedUntilMs') then
  redis.call('HSET', lane, 'pausedUntilMs', int(q.pauseUntilMs), 'pauseReason', q.reason)
end
leaveProviderQueue(account, archive)
if get(lane, 'intent') == q.intent then freeLane(account, q.nowMs) end
queueSealed(archive, q.pauseUntilMs or q.nowMs)
return '{"isRefused":true}'
