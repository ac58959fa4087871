-- Notes that an archive's files are committed: its chunks are done, and perhaps its run.
-- request  {archive, event: JSON text, nowMs}
-- returns  {isExported, isRunDone}
-- Atomic because the event must exist exactly when the commit does.
local key = P .. 'archive:' .. q.archive
local run = get(key, 'run')
if not target('archive', key, 'export') then
  local isDone = isEnding(run) and num(P .. 'run:' .. run, 'chunksOpen') == 0
  return reply({ isExported = false, isRunDone = isDone })
end
change('archive', key, 'export')
redis.call('HSET', key, 'exportedAtMs', int(q.nowMs))
local chunks = redis.call('LRANGE', key .. ':chunks', 0, -1)
for _, chunk in ipairs(chunks) do change('chunk', P .. 'chunk:' .. chunk, 'finish') end
add(P .. 'run:' .. run, 'chunksOpen', -#chunks)
undue('export', q.archive)
emit(q.archive .. ':exported', 'batch.exported', q.archive, q.nowMs, q.event)
return reply({ isExported = true, isRunDone = finishIfDone(run, q.nowMs) })
