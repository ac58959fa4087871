-- Remembers a batch of the workspace that is none of this installation's, so that it is not read again.
-- request  {account, batch, createdAtMs, keptMs, nowMs}
-- returns  {isNoted}
-- Atomic because what the provider has forgotten is forgotten here too: the set is bounded by time.
local key = P .. 'strangers:' .. q.account
redis.call('ZADD', key, int(q.createdAtMs), q.batch)
redis.call('ZREMRANGEBYSCORE', key, '-inf', int(q.nowMs - q.keptMs))
return '{"isNoted":true}'
