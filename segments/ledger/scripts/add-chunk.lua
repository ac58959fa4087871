-- Registers a durable chunk and, unless the run is strict, queues it.
-- request  {footer, spoolKey, previousRow, acknowledgedRow?, checkpoint: {bytes, rows, sha256}, isReleased, nowMs}
-- returns  {kind: "added" | "duplicate" | "stale" | "canceled", epoch} | {kind: "behind", reason}
-- Atomic because the high-water mark, the checkpoint and the queue must agree: a resumed producer skips exactly the
-- rows that are registered. A mark other than `previousRow` shows a second producer of the same run; a mark below
-- `acknowledgedRow`, or no run at all, shows that Redis was set back.
local footer = q.footer
local run = P .. 'run:' .. footer.run
local chunk = P .. 'chunk:' .. footer.chunk
if redis.call('EXISTS', chunk) == 1 then return reply({ kind = 'duplicate', epoch = num(chunk, 'epoch') }) end
local state = get(run, 'state')
if state == 'canceling' or state == 'canceled' then return reply({ kind = 'canceled', epoch = 0 }) end
local lane = footer.segment .. '|' .. footer.client
if footer.prefix then lane = lane .. '|' .. footer.prefix end
if state == '' then return forgotten('a run that a producer has opened is not known to the ledger', q.nowMs) end
local high = num(run .. ':high', lane)
if state == 'ingesting' and q.acknowledgedRow and high < q.acknowledgedRow then
  return forgotten('rows that a producer was acknowledged are not known to the ledger', q.nowMs)
end
if state ~= 'ingesting' or high ~= q.previousRow then
  return reply({ kind = 'stale', epoch = 0 })
end
createChunk(footer, q.spoolKey)
redis.call('HSET', run .. ':high', lane, footer.lastRow)
redis.call('HSET', run, 'lastChunkAtMs', int(q.nowMs))
add(run, 'accepted', footer.rows)
if q.checkpoint.bytes >= num(run, 'checkpointBytes') then
  redis.call('HSET', run, 'checkpointBytes', int(q.checkpoint.bytes), 'checkpointRows', int(q.checkpoint.rows), 'checkpointSha256', q.checkpoint.sha256)
end
if not q.isReleased then
  redis.call('RPUSH', run .. ':spooled', footer.chunk)
  return reply({ kind = 'added', epoch = 0 })
end
change('chunk', chunk, 'queue')
return reply({ kind = 'added', epoch = enqueue(footer.chunk, chunk).epoch })
