-- Begins a rebuild: shuts the gate, forgets what a rebuild that was killed has left of its own, and numbers events on.
-- request  {epoch, owner, sequence, nowMs}
-- returns  {isBegun}
-- Atomic because no intent may be prepared between the mark and the first record that is taken away.
local key = P .. 'standing'
redis.call('HSET', key, 'recovering', '1', 'epoch', int(q.epoch), 'recoveredBy', q.owner, 'recoveredAtMs', int(q.nowMs), 'generation', 0)
-- A consumer that has seen a number must never see it again for another event, and what was lost is unknown: the next
-- number is far behind any that was given, already for what the rebuild itself tells of holds and cancellations.
if (tonumber(redis.call('GET', P .. 'events:sequence') or '0')) < q.sequence then
  redis.call('SET', P .. 'events:sequence', int(q.sequence))
end
return '{"isBegun":true}'
