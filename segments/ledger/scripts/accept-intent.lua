-- Binds an intent to the batch that a reply or a search of the workspace named.
-- request  {intent, batch, pollAtMs, nowMs}
-- returns  {isAccepted}
-- Atomic because an accepted archive without a poll, or a lane that stays taken, would stand still. A reply that comes
-- after the lane was given up still proves the batch, so it resolves the doubt.
local key = P .. 'intent:' .. q.intent
if get(key, 'batch') == q.batch then return '{"isAccepted":true}' end
local event = target('intent', key, 'accept') and 'accept' or (target('intent', key, 'adopt') and 'adopt')
if not event then return '{"isAccepted":false}' end
-- One batch is bound to one intent only.
if redis.call('HSETNX', P .. 'batches', q.batch, q.intent) == 0 then return '{"isAccepted":false}' end
local archive, account = get(key, 'archive'), get(key, 'account')
local archiveKey = P .. 'archive:' .. archive
local run = get(archiveKey, 'run')
if get(archiveKey, 'state') == 'in_doubt' then add(P .. 'run:' .. run, 'archivesInDoubt', -1) end
change('intent', key, event)
change('archive', archiveKey, event)
redis.call('HSET', key, 'batch', q.batch)
redis.call('HSET', archiveKey, 'batch', q.batch, 'acceptedAtMs', int(q.nowMs))
add(P .. 'run:' .. run, 'batches', 1)
redis.call('SREM', P .. 'doubts', archive)
due('track', archive, q.pollAtMs)
if get(P .. 'lane:' .. account, 'intent') == q.intent then freeLane(account, q.nowMs) end
emit(archive .. ':submitted', 'batch.submitted', archive, q.nowMs,
  { run_key = run, archive = archive, batch_id = q.batch, requests = num(archiveKey, 'rows') })
return '{"isAccepted":true}'
