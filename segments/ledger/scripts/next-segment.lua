-- The segment whose chunk is packed next: the highest priority that has work, and in it the one whose client is served least.
-- request  {skip: [segment]}
-- returns  {segment} or {}
-- Atomic because the queues move while they are compared.
local skipped = {}
for _, segment in ipairs(q.skip) do skipped[segment] = true end
for _, priority in ipairs({ 'high', 'normal', 'low', 'fallback' }) do
  for _, segment in ipairs(redis.call('ZRANGE', P .. 'ready:' .. priority, 0, #q.skip)) do
    if not skipped[segment] then return reply({ segment = segment }) end
  end
end
return '{}'
