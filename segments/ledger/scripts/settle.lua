-- Books what an archive consumed, returns its reservations, and queues what goes round again.
-- request  {archive, chunks: [{chunk, succeeded, retried, deadLettered, usage, microUsd, standardMicroUsd, overBound, notSampled?, samples?: [sample]}],
--           retries: [{footer, spoolKey}], rest?: {rows, round, untilMs}, nowMs}
-- returns  {isSettled, queued: [{chunk, segment, epoch}]}
-- Atomic because money must move from reserved to spent in one step (G1), once (G2), together with the new chunks that
-- the old ones' rows continue in, and the account must rest before these can be sent. Bounded by the chunks of one archive.
local archiveKey = P .. 'archive:' .. q.archive
if not target('archive', archiveKey, 'settle') then return '{"isSettled":false,"queued":[]}' end
local run = P .. 'run:' .. get(archiveKey, 'run')
-- Everything is looked at before anything is written: an error in the middle would leave half of the money moved.
if #q.chunks ~= redis.call('LLEN', archiveKey .. ':chunks') then
  error(#q.chunks .. ' outcomes do not settle all chunks of ' .. q.archive)
end
local isNamed = {}
for _, outcome in ipairs(q.chunks) do
  local key = P .. 'chunk:' .. outcome.chunk
  if isNamed[key] or get(key, 'reservation') ~= 'reserved' or get(key, 'archive') ~= q.archive then
    error('chunk ' .. outcome.chunk .. ' has no reservation to settle in ' .. q.archive)
  end
  isNamed[key] = true
end
-- An archive has hundreds of chunks and a handful of accounts: what they are to be booked is added up first.
local function newSum()
  local sum = { tokensReserved = 0, microUsdReserved = 0, microUsd = 0, overBound = 0, usage = {} }
  for _, class in ipairs(usageClasses) do sum.usage[class] = 0 end
  return sum
end
local counts = { 'succeeded', 'deadLettered', 'retried', 'notSampled', 'microUsd', 'standardMicroUsd' }
local ofRun, sums, gathered = {}, {}, {}
for _, outcome in ipairs(q.chunks) do
  local key = P .. 'chunk:' .. outcome.chunk
  local usage = outcome.usage
  local reservedIn = reservationOf(key)
  local names = namesIn(key, 'accounts')
  for _, name in ipairs(namesIn(key, 'joined')) do names[#names + 1] = name end
  for _, name in ipairs(names) do
    local sum = sums[name] or newSum()
    sums[name] = sum
    local tokensTaken, microUsdTaken = reservedIn(name)
    sum.tokensReserved = sum.tokensReserved + tokensTaken
    sum.microUsdReserved = sum.microUsdReserved + microUsdTaken
    sum.microUsd = sum.microUsd + outcome.microUsd
    sum.overBound = sum.overBound + outcome.overBound
    for _, class in ipairs(usageClasses) do sum.usage[class] = sum.usage[class] + usage[class] end
  end
  redis.call('HSET', key, 'reservation', 'settled', 'spent', spentText(usage, outcome.microUsd, outcome.overBound))
  for _, sample in ipairs(outcome.samples or {}) do gather(gathered, topicOf(get(key, 'segment')), sample) end
  for _, class in ipairs(usageClasses) do ofRun[class] = (ofRun[class] or 0) + usage[class] end
  for _, count in ipairs(counts) do ofRun[count] = (ofRun[count] or 0) + (outcome[count] or 0) end
  if outcome.overBound > 0 then
    -- The bound's one assumption is wrong for this kind of text: nothing more of it may be sent unseen.
    local segment = get(key, 'segment')
    if beginStop(segment, segment, '', '', 'bound_exceeded', 'segment:' .. segment, 0, 0, q.nowMs) then
      emit(q.archive .. ':bound_exceeded:' .. segment, 'segment.stopped', segment, q.nowMs,
        { segment = segment, reason = 'bound_exceeded', archive = q.archive, rows = outcome.overBound })
    end
  end
end
for field, sum in pairs(ofRun) do add(run, field, sum) end
for _, name in ipairs(namesOf(gathered)) do learn(gathered[name].topic, gathered[name]) end
local names = namesOf(sums)
for _, name in ipairs(names) do
  local account, sum = P .. 'account:' .. name, sums[name]
  add(account, 'tokensReserved', -sum.tokensReserved)
  add(account, 'microUsdReserved', -sum.microUsdReserved)
  bookSpent(account, sum.usage, sum.microUsd, sum.overBound)
end
for _, name in ipairs(names) do tellSpending(name, q.nowMs) end
-- What it took, for the runtime budgets. A batch that was canceled took less than it would have.
if get(archiveKey, 'batch') ~= '' and get(archiveKey, 'cancelAskedAtMs') == '' then
  local tookMs = int(q.nowMs - num(archiveKey, 'openedAtMs'))
  local isSeen = {}
  for _, outcome in ipairs(q.chunks) do isSeen[get(P .. 'chunk:' .. outcome.chunk, 'segment')] = true end
  isSeen['all'] = true
  for name in pairs(isSeen) do
    redis.call('LPUSH', P .. 'turnaround:' .. name, tookMs)
    redis.call('LTRIM', P .. 'turnaround:' .. name, 0, 19)
  end
end
if q.rest then
  local account = get(archiveKey, 'account')
  restLane(account, q.rest.untilMs, 'account_fault')
  emit(q.archive .. ':account_fault', 'account.rested', account, q.nowMs,
    { account = account, archive = q.archive, batch_id = get(archiveKey, 'batch'), rows = q.rest.rows, round = q.rest.round, until_ms = int(q.rest.untilMs) })
end
local queued = {}
for _, retry in ipairs(q.retries) do
  local key = createChunk(retry.footer, retry.spoolKey)
  change('chunk', key, 'queue')
  queued[#queued + 1] = enqueue(retry.footer.chunk, key)
end
-- A run that was canceled meanwhile sends nothing more. A retry chunk has at most the rows of its archive.
if get(run, 'state') == 'canceling' and #queued > 0 then
  cancelWaiting(get(archiveKey, 'run'), num(archiveKey, 'rows'), 1000, q.nowMs)
  queued = {}
end
local intent = get(archiveKey, 'intent')
if intent ~= '' and target('intent', P .. 'intent:' .. intent, 'confirm') then
  change('intent', P .. 'intent:' .. intent, 'confirm')
  redis.call('SREM', P .. 'adoptions', intent)
end
change('archive', archiveKey, 'settle')
undue('settle', q.archive)
due('export', q.archive, q.nowMs)
return '{"isSettled":true,"queued":' .. list(queued) .. '}'
