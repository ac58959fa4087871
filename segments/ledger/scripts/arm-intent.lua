-- Arms an intent that is durable in the lake: the upload may begin.
-- request  {intent, owner, providerDateMs, nowMs}
-- returns  {isArmed}
-- Atomic because the lane may have been taken over since it was prepared.
local key = P .. 'intent:' .. q.intent
local lane = P .. 'lane:' .. get(key, 'account')
if get(lane, 'intent') ~= q.intent or get(lane, 'owner') ~= q.owner then return '{"isArmed":false}' end
if get(key, 'state') == 'armed' then return '{"isArmed":true}' end
if not target('intent', key, 'arm') then return '{"isArmed":false}' end
change('intent', key, 'arm')
redis.call('HSET', key, 'providerDateMs', int(q.providerDateMs))
return '{"isArmed":true}'
