-- Completes a run whose manifest and _SUCCESS are in the lake.
-- request  {run, result, event: JSON text, nowMs}
-- returns  {isComplete}
-- Atomic because the completion event must be written exactly once, with the state.
local key = P .. 'run:' .. q.run
if get(key, 'state') == 'complete' or get(key, 'state') == 'canceled' then return '{"isComplete":true}' end
if not target('run', key, 'complete') or num(key, 'chunksOpen') ~= 0 then return '{"isComplete":false}' end
change('run', key, 'complete')
redis.call('HSET', key, 'result', q.result, 'completedAtMs', int(q.nowMs))
undue('gather', q.run)
-- An operator's hold ends with what it held.
if redis.call('SISMEMBER', P .. 'stops', 'run|' .. q.run) == 1 then endStop('run|' .. q.run) end
-- A run of which nothing succeeded failed, whatever the reasons; one event tells how a run ended.
local isFailed = num(key, 'succeeded') == 0
emit(q.run .. (isFailed and ':failed' or ':completed'), isFailed and 'run.failed' or 'run.completed', q.run, q.nowMs, q.event)
return '{"isComplete":true}'
