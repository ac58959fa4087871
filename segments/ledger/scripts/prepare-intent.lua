-- Takes the lane of an account for the next sealed archive and writes the intent down.
-- request  {account, side: "real" | "simulated", owner, leaseMs, queueRowsMax, patienceMs?, primerWaitMs?, proof?: {generation, epoch, server}, nowMs}
-- returns  {kind: "prepared", intent, archive} | {kind: "nothing"} | {kind: "lane_busy", untilMs}
--        | {kind: "queue_full", rows, rowsFree} | {kind: "paused", untilMs, reason} | {kind: "counts_taken", rows}
--        | {kind: "awaiting_primer", untilMs} | {kind: "set_aside", untilMs}: what is left in line is put aside
--        | {kind: "other_side", untilMs}: all that is left in line is of runs that the other side answers
--        | {kind: "unproven", reason}: this is not the ledger that was compared with the lake
-- Atomic because two submitters must never hold one lane, nor two intents one archive (G3, G4), nor two sides one run (G7).
local fault = q.proof and standingFault(q.proof)
if fault then return reply({ kind = 'unproven', reason = fault }) end
local lane = P .. 'lane:' .. q.account
-- The lane of another account may be left behind, after a key was changed for example: nobody else would look at it.
for _, account in ipairs(redis.call('SMEMBERS', P .. 'lanes')) do
  if account ~= q.account then expire(account, q.nowMs) end
end
local held = get(lane, 'intent')
if held ~= '' then
  if get(lane, 'owner') == q.owner and get(P .. 'intent:' .. held, 'state') == 'prepared' then
    redis.call('HSET', lane, 'untilMs', int(q.nowMs + q.leaseMs))
    due('submit', 'next', q.nowMs + q.leaseMs)
    return reply({ kind = 'prepared', intent = held, archive = get(P .. 'intent:' .. held, 'archive') })
  end
  return reply({ kind = 'lane_busy', untilMs = num(lane, 'untilMs') })
end
if num(lane, 'pausedUntilMs') > q.nowMs then
  due('submit', 'next', num(lane, 'pausedUntilMs'))
  return reply({ kind = 'paused', untilMs = num(lane, 'pausedUntilMs'), reason = get(lane, 'pauseReason') })
end
-- The archives of a run that an operator holds stay in line; the next one goes before them.
-- So does one whose row count an archive in doubt has: until a batch ends, its count is nearly all that tells whose it is.
-- And so does one that waits for the primer of a prefix; the end of a primer makes the submitter due.
-- And so does one whose body could not be made, until it is tried again.
-- And so does one of a run that the other side answers, for good. That is read once a run, by whose tag its archives are named:
-- a long line of a rehearsal must not make every call of the real submitter slow.
local archive, taken, awaitUntilMs, asideUntilMs, othersUntilMs
local others = {}
for _, candidate in ipairs(inLine(q.patienceMs, q.nowMs)) do
  local tag = string.match(candidate, '^[^-]*')
  local run = not others[tag] and get(P .. 'archive:' .. candidate, 'run')
  if not run or areApart(get(P .. 'run:' .. run, 'side'), q.side) then
    others[tag] = true
    othersUntilMs = q.nowMs + othersLookMs
  elseif redis.call('SISMEMBER', P .. 'stops', 'run|' .. run) == 0 then
    local aside = num(P .. 'archive:' .. candidate, 'asideUntilMs')
    local untilMs = q.primerWaitMs and primerWaitOf(candidate, q.side, q.primerWaitMs, q.nowMs)
    if aside > q.nowMs then
      asideUntilMs = math.min(asideUntilMs or aside, aside)
    elseif untilMs then
      awaitUntilMs = math.min(awaitUntilMs or untilMs, untilMs)
    elseif not isCountTaken(q.account, num(P .. 'archive:' .. candidate, 'rows')) then
      archive = candidate
      break
    else
      taken = num(P .. 'archive:' .. candidate, 'rows')
    end
  end
end
if not archive then restSubmit() end
local againAtMs = math.min(awaitUntilMs or math.huge, asideUntilMs or math.huge, othersUntilMs or math.huge)
if not archive and againAtMs < math.huge then
  local dueAtMs = tonumber(redis.call('ZSCORE', P .. 'due:submit', 'next') or '')
  if not dueAtMs or dueAtMs > againAtMs then due('submit', 'next', againAtMs) end
end
if not archive and awaitUntilMs then return reply({ kind = 'awaiting_primer', untilMs = againAtMs }) end
-- The end of a doubt makes it due at once.
if not archive and taken then return reply({ kind = 'counts_taken', rows = taken }) end
if not archive and asideUntilMs then return reply({ kind = 'set_aside', untilMs = asideUntilMs }) end
if not archive and othersUntilMs then return reply({ kind = 'other_side', untilMs = othersUntilMs }) end
if not archive then return '{"kind":"nothing"}' end
local key = P .. 'archive:' .. archive
local rows = num(key, 'rows')
local enqueued = num(lane, 'rowsEnqueued')
if enqueued > 0 and enqueued + rows > q.queueRowsMax then
  return reply({ kind = 'queue_full', rows = rows, rowsFree = q.queueRowsMax - enqueued })
end
change('archive', key, 'prepare')
local runKey = P .. 'run:' .. get(key, 'run')
if get(runKey, 'side') == '' then redis.call('HSET', runKey, 'side', q.side) end
local ordinal = add(key, 'intents', 1)
local intent = archive .. '-i' .. ordinal
redis.call('HSET', key, 'intent', intent, 'account', q.account)
redis.call('HSET', P .. 'intent:' .. intent, 'state', 'prepared', 'reason', '', 'archive', archive, 'account', q.account,
  'rows', rows, 'bodyBytes', get(key, 'bodyBytes'), 'preparedAtMs', int(q.nowMs), 'owner', q.owner, 'batch', '',
  'server', q.proof and q.proof.server or '')
redis.call('HSET', lane, 'intent', intent, 'owner', q.owner, 'untilMs', int(q.nowMs + q.leaseMs), 'queueRowsMax', int(q.queueRowsMax))
redis.call('SADD', P .. 'lanes', q.account)
redis.call('ZADD', P .. 'due:doubt', 'NX', int(q.nowMs), 'workspace|' .. q.account)
add(lane, 'rowsEnqueued', rows)
redis.call('ZREM', P .. 'sealed', archive)
redis.call('ZREM', P .. 'sealed:since', archive)
serveTag('submit:' .. get(key, 'priority'), num(key, 'order'))
due('submit', 'next', q.nowMs + q.leaseMs)
return reply({ kind = 'prepared', intent = intent, archive = archive })
