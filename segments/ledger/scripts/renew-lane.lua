-- Keeps the lane while an upload or a reply is under way.
-- request  {account, owner, intent, leaseMs, nowMs}
-- returns  {isHeld}
-- Atomic because a lane that has just been taken over must not be prolonged for its old owner.
local lane = P .. 'lane:' .. q.account
if get(lane, 'owner') ~= q.owner or get(lane, 'intent') ~= q.intent then return '{"isHeld":false}' end
redis.call('HSET', lane, 'untilMs', int(q.nowMs + q.leaseMs))
due('submit', 'next', q.nowMs + q.leaseMs)
return '{"isHeld":true}'
