-- Counts one more start of a worker.
-- request  {owner}
-- returns  {generation}
-- Atomic because two workers must not start as the same generation. Sent twice it counts once; when somebody else came in
-- between it leaves a gap in the numbers, which means nothing.
local key = P .. 'standing'
if get(key, 'raisedBy') ~= q.owner then
  redis.call('HSET', key, 'raisedBy', q.owner)
  add(key, 'generation', 1)
end
return reply({ generation = num(key, 'generation') })
