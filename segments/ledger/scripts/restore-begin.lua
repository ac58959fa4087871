-- Begins a rebuild: shuts the gate, and forgets what a rebuild that was killed has left of its own.
-- request  {epoch, owner, nowMs}
-- returns  {isBegun}
-- Atomic because no intent may be prepared between the mark and the first record that is taken away.
local key = P .. 'standing'
redis.call('HSET', key, 'recovering', '1', 'epoch', int(q.epoch), 'recoveredBy', q.owner, 'recoveredAtMs', int(q.nowMs), 'generation', 0)
return '{"isBegun":true}'
