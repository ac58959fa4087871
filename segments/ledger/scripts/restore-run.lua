-- Writes the record of a run as the lake has it.
-- request  {run, fields: {name: text}, high: {lane: row}, isDone, epoch, nowMs}
-- returns  {isRestored} | {isOurs: false}
-- Atomic because its due time belongs to its state. Sent twice it writes the same.
if not isRebuilding(q.epoch) then return '{"isOurs":false}' end
local key = P .. 'run:' .. q.run
if redis.call('EXISTS', key) == 1 then return '{"isRestored":false}' end
for name, value in pairs(q.fields) do redis.call('HSET', key, name, value) end
for lane, row in pairs(q.high) do redis.call('HSET', key .. ':high', lane, row) end
redis.call('SADD', P .. 'runs', q.run)
if not q.isDone then finishIfDone(q.run, q.nowMs) end
return '{"isRestored":true}'
