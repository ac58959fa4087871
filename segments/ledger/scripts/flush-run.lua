-- Ends the ingest of a run: its counts are final, what was only spooled is queued, and its tails may share archives.
-- request  {run, accepted, rejected, high: {lane: row}, input: {bytes, rows, sha256}, nowMs}
-- returns  {kind: "flushed" | "already" | "mismatch" | "miscount" | "canceled", queued: [{chunk, segment, epoch}]} | {kind: "behind", reason}
-- Atomic because a packer that saw the run half flushed would share tails that are not tails. `high` is what the producer
-- was acknowledged: counts that differ although the ledger knows all of it come from another input, and only then.
local key = P .. 'run:' .. q.run
local state = get(key, 'state')
if state == '' then return forgotten('a run that a producer has opened is not known to the ledger', q.nowMs) end
if state == 'canceling' or state == 'canceled' then return '{"kind":"canceled","queued":[]}' end
if state ~= 'ingesting' then
  local kind = get(key, 'checkpointSha256') == q.input.sha256 and 'already' or 'mismatch'
  return '{"kind":"' .. kind .. '","queued":[]}'
end
if num(key, 'accepted') ~= q.accepted then
  for lane, row in pairs(q.high) do
    if num(key .. ':high', lane) < row then return forgotten('rows that a producer was acknowledged are not known to the ledger', q.nowMs) end
  end
  return '{"kind":"miscount","queued":[]}'
end
change('run', key, 'flush')
redis.call('HSET', key, 'rejected', int(q.rejected), 'checkpointBytes', int(q.input.bytes), 'checkpointRows', int(q.input.rows), 'checkpointSha256', q.input.sha256)
local queued = {}
for _, chunk in ipairs(redis.call('LRANGE', key .. ':spooled', 0, -1)) do
  local chunkKey = P .. 'chunk:' .. chunk
  change('chunk', chunkKey, 'queue')
  queued[#queued + 1] = enqueue(chunk, chunkKey)
end
redis.call('DEL', key .. ':spooled')
for _, priority in ipairs({ 'high', 'normal', 'low', 'fallback' }) do flushDue(q.run, priority, q.nowMs) end
finishIfDone(q.run, q.nowMs)
return '{"kind":"flushed","queued":' .. list(queued) .. '}'
