-- Remembers a batch of the workspace that is none of this installation's, so that it is not read again.
-- request  {account, batch, archive, createdAtMs, keptMs, nowMs}; archive: what its results name, empty if not of our form
-- returns  {isNoted}
-- Atomic because what the provider has forgotten is forgotten here too: the set is bounded by time.
local key = P .. 'strangers:' .. q.account
redis.call('ZADD', key, int(q.createdAtMs), q.batch)
redis.call('HSET', key .. ':named', q.batch, q.archive)
for _, old in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', int(q.nowMs - q.keptMs), 'LIMIT', 0, 1000)) do
  redis.call('ZREM', key, old)
  redis.call('HDEL', key .. ':named', old)
end
return '{"isNoted":true}'
