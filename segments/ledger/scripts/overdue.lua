-- Lists what has waited past its due time, and moves it on so that it is not listed again at once.
-- request  {nowMs, againMs, limit}
-- returns  [{stage, entity, epoch}]
-- Atomic because several sweepers look at once.
local found = {}
for _, stage in ipairs({ 'pack', 'seal', 'submit', 'track', 'settle', 'export', 'gather', 'doubt' }) do
  local key = P .. 'due:' .. stage
  for _, entity in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', int(q.nowMs), 'LIMIT', 0, q.limit)) do
    redis.call('ZADD', key, int(q.nowMs + q.againMs), entity)
    redis.call('HDEL', P .. 'claims', stage .. '|' .. entity)
    found[#found + 1] = { stage = stage, entity = entity, epoch = add(P .. 'epochs', stage .. '|' .. entity, 1) }
  end
end
return list(found)
