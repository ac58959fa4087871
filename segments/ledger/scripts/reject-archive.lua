-- Ends an archive of one row that the provider refuses for good: there is no batch, and the row becomes a dead letter.
-- request  {intent, reason, nowMs}
-- returns  {isRejected}
-- Atomic because the lane must be free for the next archive in the same instant.
local key = P .. 'intent:' .. q.intent
local archive, account = get(key, 'archive'), get(key, 'account')
local archiveKey = P .. 'archive:' .. archive
if not target('intent', key, 'refuse') or not target('archive', archiveKey, 'reject') then return '{"isRejected":false}' end
change('intent', key, 'refuse', q.reason)
change('archive', archiveKey, 'reject', q.reason)
redis.call('HSET', archiveKey, 'endedAtMs', int(q.nowMs))
leaveProviderQueue(account, archive)
due('settle', archive, q.nowMs)
if get(P .. 'lane:' .. account, 'intent') == q.intent then freeLane(account, q.nowMs) end
return '{"isRejected":true}'
