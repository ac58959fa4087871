-- Binds an intent to the batch that a reply or a search of the workspace named.
-- request  {intent, batch, pollAtMs, isTentative?, nowMs}
-- returns  {isAccepted}
-- Atomic because an accepted archive without a poll, or a lane that stays taken, would stand still. A reply that comes
-- after the lane was given up still proves the batch, so it resolves the doubt. `isTentative`: only time and count speak
-- for the batch, so nobody else may have the same count without a proven end, nor may one that was given up.
local key = P .. 'intent:' .. q.intent
if get(key, 'batch') == q.batch then return '{"isAccepted":true}' end
-- One batch is bound to one intent only.
if redis.call('HEXISTS', P .. 'batches', q.batch) == 1 then return '{"isAccepted":false}' end
-- What was found to hold none of its rows never will.
if redis.call('SISMEMBER', key .. ':foreign', q.batch) == 1 then return '{"isAccepted":false}' end
local archive, account = get(key, 'archive'), get(key, 'account')
local archiveKey = P .. 'archive:' .. archive
if q.isTentative then
  if get(key, 'state') ~= 'in_doubt' or isCountTaken(account, num(key, 'rows'), archive) or isCountForgone(account, num(key, 'rows'), q.nowMs) then return '{"isAccepted":false}' end
  -- The batch may be that of another adoption, or of a create whose reply is still on its way.
  local rivals = redis.call('SMEMBERS', P .. 'adoptions')
  for _, each in ipairs(redis.call('SMEMBERS', P .. 'lanes')) do rivals[#rivals + 1] = get(P .. 'lane:' .. each, 'intent') end
  for _, other in ipairs(rivals) do
    if other ~= '' and other ~= q.intent and num(P .. 'intent:' .. other, 'rows') == num(key, 'rows') then return '{"isAccepted":false}' end
  end
elseif get(key, 'isTentative') == '1' and target('intent', key, 'disown') and target('archive', archiveKey, 'disown') then
  -- What was adopted before on weaker evidence gives way to a proof. Of two batches that both hold its rows the first that
  -- was proven stays: its acceptance is in the journal, and its results may have been read.
  disown(q.intent, q.nowMs)
end
local event = target('intent', key, 'accept') and 'accept' or (target('intent', key, 'adopt') and 'adopt')
if not event then return '{"isAccepted":false}' end
redis.call('HSET', P .. 'batches', q.batch, q.intent)
local run = get(archiveKey, 'run')
if get(archiveKey, 'state') == 'in_doubt' then leaveDoubt(archive, q.nowMs) end
change('intent', key, event)
change('archive', archiveKey, event)
redis.call('HSET', key, 'batch', q.batch, 'isTentative', q.isTentative and '1' or '')
if event == 'adopt' then redis.call('SADD', P .. 'adoptions', q.intent) end
redis.call('HSET', archiveKey, 'batch', q.batch, 'acceptedAtMs', int(q.nowMs))
add(P .. 'run:' .. run, 'batches', 1)
due('track', archive, q.pollAtMs)
if get(P .. 'lane:' .. account, 'intent') == q.intent then freeLane(account, q.nowMs) end
-- A second submission of an archive, by this intent or by one after it, is an event of its own: consumers drop what has
-- an id that they know.
redis.call('HSETNX', archiveKey, 'firstBatch', q.batch)
local isSecond = get(archiveKey, 'firstBatch') ~= q.batch
emit(archive .. ':submitted' .. (isSecond and ':' .. q.batch or ''), 'batch.submitted', archive, q.nowMs,
  { run_key = run, archive = archive, batch_id = q.batch, requests = num(archiveKey, 'rows') })
return '{"isAccepted":true}'
