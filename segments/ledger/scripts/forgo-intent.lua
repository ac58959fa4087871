-- Gives up an archive in doubt: it is never sent again, and its rows become dead letters at their bounds.
-- request  {intent, by, decidedAtMs, rivalUntilMs, nowMs}; rivalUntilMs: until when its batch may still turn up
-- returns  {isForgone}
-- Atomic because the adopter may be about to bind it to a batch, or to declare it absent and put it in line again. Its
-- reservation stays until the settlement books it as spent, so that at no moment what may be billed is free budget.
local key = P .. 'intent:' .. q.intent
if get(key, 'state') == 'forgone' then return '{"isForgone":true}' end
local archive, account = get(key, 'archive'), get(key, 'account')
local archiveKey = P .. 'archive:' .. archive
if not target('intent', key, 'forgo') or not target('archive', archiveKey, 'forgo') then return '{"isForgone":false}' end
change('intent', key, 'forgo', 'submission_in_doubt')
change('archive', archiveKey, 'forgo', 'submission_in_doubt')
redis.call('HSET', archiveKey, 'endedAtMs', int(q.decidedAtMs))
rememberForgone(q.intent, q.rivalUntilMs, q.nowMs)
leaveDoubt(archive, q.nowMs)
leaveProviderQueue(account, archive)
due('settle', archive, q.nowMs)
emit(archive .. ':forgone:' .. q.intent, 'batch.forgone', archive, q.nowMs,
  { run_key = get(archiveKey, 'run'), archive = archive, intent = q.intent, rows = num(archiveKey, 'rows'), by = q.by })
return '{"isForgone":true}'
