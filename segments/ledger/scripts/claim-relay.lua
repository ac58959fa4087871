-- Claims the outbox for one sink, and says up to which event it has been told and which event is the newest.
-- request  {sink, owner, leaseMs, isFromNow, nowMs}
-- returns  {isClaimed, sequence, newest, untilMs}
-- Atomic because two relays of one sink would send everything twice, and because a new sink's beginning is fixed once.
local key = P .. 'relay:' .. q.sink
redis.call('SADD', P .. 'relays', q.sink)
if get(key, 'sequence') == '' then
  redis.call('HSET', key, 'sequence', q.isFromNow and redis.call('GET', P .. 'events:sequence') or 0)
end
-- The number of the newest event itself: the counter is far ahead of it after a rebuild. 0: there is none.
local entry = redis.call('XREVRANGE', P .. 'events', '+', '-', 'COUNT', 1)[1]
local newest = entry and tonumber(entry[1]:match('^%d+')) or 0
local owner, untilMs = get(key, 'owner'), num(key, 'untilMs')
if owner ~= '' and owner ~= q.owner and untilMs > q.nowMs then
  return reply({ isClaimed = false, sequence = num(key, 'sequence'), newest = newest, untilMs = untilMs })
end
redis.call('HSET', key, 'owner', q.owner, 'untilMs', int(q.nowMs + q.leaseMs))
return reply({ isClaimed = true, sequence = num(key, 'sequence'), newest = newest, untilMs = q.nowMs + q.leaseMs })
