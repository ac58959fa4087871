-- Writes the records of chunks and puts those that wait into their queues.
-- request  {run, chunks: [{chunk, state, fields: {name: text}}], epoch}
-- returns  {restored} | {isOurs: false}
-- Atomic because a queue that names a chunk without a record would stop the packer. A chunk that is there already was
-- restored by this very call before. Bounded by the caller to a few hundred chunks.
if not isRebuilding(q.epoch) then return '{"isOurs":false}' end
local restored = 0
for _, each in ipairs(q.chunks) do
  local key = P .. 'chunk:' .. each.chunk
  if redis.call('EXISTS', key) == 0 then
    redis.call('HSET', key, 'state', each.state, 'run', q.run)
    for name, value in pairs(each.fields) do redis.call('HSET', key, name, value) end
    if each.state == 'queued' then enqueue(each.chunk, key) end
    if each.state == 'spooled' then redis.call('RPUSH', P .. 'run:' .. q.run .. ':spooled', each.chunk) end
    restored = restored + 1
  end
end
return reply({ restored = restored })
