-- Opens a run or finds it.
-- request  {run, tag, dt, source, cutSha256, retryOf?, side?, nowMs}
-- returns  {kind: "opened" | "exists"}
-- Atomic because two producers may open the same key at once: the first one's date and tag hold for both.
local key = P .. 'run:' .. q.run
if redis.call('EXISTS', key) == 1 then return reply({ kind = 'exists' }) end
redis.call('HSET', key, 'state', 'ingesting', 'reason', '', 'tag', q.tag, 'dt', q.dt, 'openedAtMs', int(q.nowMs),
  'source', q.source, 'cutSha256', q.cutSha256, 'retryOf', q.retryOf or '', 'side', q.side or '')
redis.call('SADD', P .. 'runs', q.run)
emit(q.run .. ':created', 'run.created', q.run, q.nowMs, { run_key = q.run, source = q.source })
return reply({ kind = 'opened' })
