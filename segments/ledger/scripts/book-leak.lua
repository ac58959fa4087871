-- Books a batch that holds an archive's rows and is bound to nothing: it is paid for, and its answers are not wanted.
-- request  {account, archive, batch, rows, rowsAtBound, usage, microUsd, nowMs}; rowsAtBound: of which no result is to be had
-- returns  {isBooked}
-- Atomic because it must be booked once, and never while the archive may still claim it.
local archiveKey = P .. 'archive:' .. q.archive
local state = get(archiveKey, 'state')
if state == 'submitting' or state == 'in_doubt' then return '{"isBooked":false}' end
if redis.call('HSETNX', P .. 'batches', q.batch, 'leak:' .. q.archive) == 0 then return '{"isBooked":false}' end
local account = P .. 'account:leak@total'
redis.call('SADD', P .. 'accounts', 'leak@total')
bookSpent(account, q.usage, q.microUsd, 0)
emit(q.archive .. ':leaked:' .. q.batch, 'batch.leaked', q.archive, q.nowMs,
  { run_key = get(archiveKey, 'run'), archive = q.archive, batch_id = q.batch, rows = q.rows, rows_at_bound = q.rowsAtBound, micro_usd = q.microUsd })
return '{"isBooked":true}'
