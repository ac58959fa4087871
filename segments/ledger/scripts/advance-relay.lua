-- Notes that a sink has been told everything up to an event, keeps or gives up its claim, and trims the outbox.
-- request  {sink, owner, sequence, leaseMs, eventsKept, sinkForgottenMs, nowMs}
-- returns  {isHeld}
-- Atomic because a relay that has lost its claim must not move the mark of the one that follows it.
local key = P .. 'relay:' .. q.sink
if get(key, 'owner') ~= q.owner then return '{"isHeld":false}' end
if q.sequence > num(key, 'sequence') then redis.call('HSET', key, 'sequence', int(q.sequence)) end
redis.call('HSET', key, 'owner', q.leaseMs > 0 and q.owner or '', 'untilMs', int(q.nowMs + q.leaseMs))
-- What every sink has been told and nobody may want to read again goes; a sink that nobody serves any more is not waited for.
local last = tonumber(redis.call('GET', P .. 'events:sequence') or '0')
local floor = last - q.eventsKept
if floor > 0 then
  for _, sink in ipairs(redis.call('SMEMBERS', P .. 'relays')) do
    local other = P .. 'relay:' .. sink
    if q.nowMs - num(other, 'untilMs') < q.sinkForgottenMs then floor = math.min(floor, num(other, 'sequence')) end
  end
  redis.call('XTRIM', P .. 'events', 'MINID', '~', int(floor) .. '-0')
end
return '{"isHeld":true}'
