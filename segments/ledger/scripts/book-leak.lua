-- Books a batch that holds an archive's rows and is bound to nothing: it is paid for, and its answers are not wanted.
-- request  {account, archive, batch, rows, usage, microUsd, isOverload, nowMs}
-- returns  {isBooked}
-- Atomic because it must be booked once, and never while the archive may still claim it. `isOverload`: the attempt was
-- recorded as refused by a 529, so from now on a 529 of this account proves nothing.
local archiveKey = P .. 'archive:' .. q.archive
local state = get(archiveKey, 'state')
if state == 'submitting' or state == 'in_doubt' then return '{"isBooked":false}' end
if redis.call('HSETNX', P .. 'batches', q.batch, 'leak:' .. q.archive) == 0 then return '{"isBooked":false}' end
local account = P .. 'account:leak@total'
redis.call('SADD', P .. 'accounts', 'leak@total')
local usage = q.usage
add(account, 'tokensSpent', usage.inputTokens + usage.outputTokens + usage.cacheReadInputTokens + usage.cacheWriteInputTokens)
add(account, 'microUsdSpent', q.microUsd)
for _, class in ipairs({ 'inputTokens', 'outputTokens', 'cacheReadInputTokens', 'cacheWriteInputTokens', 'cacheWrite1hInputTokens' }) do
  add(account, class, usage[class])
end
if q.isOverload then redis.call('HSET', P .. 'lane:' .. q.account, 'isOverloadDoubtful', '1') end
emit(q.archive .. ':leaked:' .. q.batch, 'batch.leaked', q.archive, q.nowMs,
  { run_key = get(archiveKey, 'run'), archive = q.archive, batch_id = q.batch, rows = q.rows, micro_usd = q.microUsd, after_overload = q.isOverload })
return '{"isBooked":true}'
