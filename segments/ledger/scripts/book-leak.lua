-- Books a batch that holds an archive's rows and is bound to nothing: it is paid for, and its answers are not wanted.
-- request  {account, archive, batch, rows, rowsAtBound, usage, microUsd, nowMs}; rowsAtBound: of which no result is to be had
-- returns  {isBooked, isCovered}; isCovered: the archive was given up, and its settlement books the bounds of this very batch
-- Atomic because it must be booked once, and never while the archive may still claim it.
local archiveKey = P .. 'archive:' .. q.archive
local state = get(archiveKey, 'state')
if state == 'submitting' or state == 'in_doubt' then return '{"isBooked":false,"isCovered":false}' end
if redis.call('HSETNX', P .. 'batches', q.batch, 'leak:' .. q.archive) == 0 then return '{"isBooked":false,"isCovered":false}' end
-- What was given up was booked at its bounds in the accounts of its chunks, and those cover the first batch that turns up.
local intent = P .. 'intent:' .. get(archiveKey, 'intent')
local isCovered = get(intent, 'state') == 'forgone' and redis.call('HSETNX', archiveKey, 'forgoneBatch', q.batch) == 1
if isCovered then
  redis.call('ZREM', P .. 'forgone:' .. get(intent, 'account'), get(archiveKey, 'intent'))
else
  redis.call('SADD', P .. 'accounts', 'leak@total')
  bookSpent(P .. 'account:leak@total', q.usage, q.microUsd, 0)
end
emit(q.archive .. ':leaked:' .. q.batch, 'batch.leaked', q.archive, q.nowMs,
  { run_key = get(archiveKey, 'run'), archive = q.archive, batch_id = q.batch, rows = q.rows, rows_at_bound = q.rowsAtBound, micro_usd = q.microUsd,
    is_covered = isCovered })
return reply({ isBooked = true, isCovered = isCovered })
