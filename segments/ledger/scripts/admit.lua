-- Admits a queued chunk to an open archive of its run and segment, and takes its reservation in every account.
-- request  {chunk, limits: {bytesMax, rowsMax, entryOverheadBytes, envelopeBytes, fullPermille, lingerMs}, isFillEnough, windows, nowMs}
-- returns  {kind: "packed", archive, closed, isFlushDue} | {kind: "overfull", archive, bytesFree, rowsFree}
--        | {kind: "refused", target, reason, tokensFree, microUsdFree} | {kind: "held", reason, isFlushDue}
--        | {kind: "stale", isFlushDue}; a refusal for the runtime names no room, and room is told in upper bounds
-- Atomic because `reserved + spent <= limit` must hold for all accounts at once, at every instant (G1), and because a
-- chunk that is in an archive without its reservation could be submitted unpaid for (G2).
local unknown = unknownWindows()
if unknown then return unknown end
local limits = q.limits
local key = P .. 'chunk:' .. q.chunk
local segment, run, client = get(key, 'segment'), get(key, 'run'), get(key, 'client')
if not target('chunk', key, 'admit') then
  if segment == '' then return '{"kind":"stale","isFlushDue":false}' end
  return reply({ kind = 'stale', isFlushDue = flushDue(run, priorityOf(segment), q.nowMs) })
end
local priority = priorityOf(segment)

local scope = stopFor(segment, run, client)
if scope then
  local reason = get(P .. 'stop:' .. scope, 'reason')
  hold(q.chunk, key, scope, reason)
  return reply({ kind = 'held', reason = reason, isFlushDue = flushDue(run, priority, q.nowMs) })
end

-- Every account must agree before any of them is touched.
local tokens, microUsd = num(key, 'tokensMax'), num(key, 'microUsdMax')
local accounts = accountsOf(segment, client, run, q.nowMs)
local isAlone = false
for _, account in ipairs(accounts) do
  if isLate(account, key, q.nowMs) then
    return reply({ kind = 'refused', target = account.target, reason = 'budget_runtime' })
  end
  isAlone = isAlone or (account.runtimeMs ~= nil and account.onLate == 'cancel')
  local tokensFree, microUsdFree = roomOf(account)
  local tokensPermille, microUsdPermille = sharesIn(account, key)
  local lacksTokens = tokensFree and shareOf(tokens, tokensPermille) > tokensFree
  local lacksMoney = microUsdFree and shareOf(microUsd, microUsdPermille) > microUsdFree
  if lacksTokens or lacksMoney then
    -- The packer cuts by bounds, so it is told the bounds whose shares fit.
    return reply({ kind = 'refused', target = account.target, reason = lacksTokens and 'budget_tokens' or 'budget_cost',
      tokensFree = tokensFree and math.floor(tokensFree * 1000 / tokensPermille),
      microUsdFree = microUsdFree and math.floor(microUsdFree * 1000 / microUsdPermille) })
  end
end

-- A chunk that not even an empty archive can take is split at what an empty one takes.
local size = num(key, 'paramsBytes') + num(key, 'rows') * limits.entryOverheadBytes
if (size > limits.bytesMax - limits.envelopeBytes or num(key, 'rows') > limits.rowsMax) and num(key, 'rows') > 1 then
  return reply({ kind = 'overfull', archive = '', bytesFree = limits.bytesMax - limits.envelopeBytes, rowsFree = limits.rowsMax })
end

local closed = {}
local runKey = P .. 'run:' .. run
-- The first prompt of a shared prefix goes ahead alone, unless another run has sent one a short while ago.
local prefix = get(key, 'prefix')
local side = get(runKey, 'side')
local isPrimer = get(key, 'primes') == '1' and not isPrimed(prefix, side, q.nowMs)
local archive = not isPrimer and redis.call('HGET', runKey .. ':open', segment)
if archive then
  local archiveKey = P .. 'archive:' .. archive
  local rows = num(archiveKey, 'rows')
  local body = limits.envelopeBytes + rows * limits.entryOverheadBytes + num(archiveKey, 'paramsBytes')
  local bytesFree, rowsFree = limits.bytesMax - body, limits.rowsMax - rows
  if size > bytesFree or num(key, 'rows') > rowsFree then
    local isFull = body * 1000 >= limits.bytesMax * limits.fullPermille or rows * 1000 >= limits.rowsMax * limits.fullPermille
    if not isFull and not q.isFillEnough then
      return reply({ kind = 'overfull', archive = archive, bytesFree = bytesFree, rowsFree = rowsFree })
    end
    closeArchive(archive, 'full', q.nowMs)
    closed[1] = archive
    archive = nil
  end
end
if isPrimer then
  archive = createArchive(run, priority, '', q.nowMs)
  beginPrimer(prefix, side, archive, q.nowMs)
elseif not archive then
  archive = createArchive(run, priority, segment, q.nowMs)
  redis.call('HSET', runKey .. ':open', segment, archive)
  due('seal', archive, q.nowMs + limits.lingerMs)
end
-- A batch that may be canceled for being late must not take the rows of other segments with it.
if isAlone then redis.call('HSET', P .. 'archive:' .. archive, 'alone', '1') end

local names, estimated = {}, {}
for _, account in ipairs(accounts) do
  if account.isEstimate then estimated[#estimated + 1] = account.name end
end
if #estimated > 0 then
  local tokensPermille, microUsdPermille = expectedShares(key)
  redis.call('HSET', key, 'estimated', list(estimated), 'tokensEstimated', int(shareOf(tokens, tokensPermille)),
    'microUsdEstimated', int(shareOf(microUsd, microUsdPermille)))
end
local reservedIn = reservationOf(key)
for _, account in ipairs(accounts) do
  local accountKey = P .. 'account:' .. account.name
  local tokensTaken, microUsdTaken = reservedIn(account.name)
  redis.call('SADD', P .. 'accounts', account.name)
  if account.runtimeMs then useWaiver(account) end
  redis.call('HSET', accountKey, 'startedAtMs', int(startedAt(account, q.nowMs)))
  add(accountKey, 'tokensReserved', tokensTaken)
  add(accountKey, 'microUsdReserved', microUsdTaken)
  names[#names + 1] = account.name
end
dequeue(q.chunk, key)
serveTag('pack:' .. priority, num(key, 'order'))
change('chunk', key, 'admit')
redis.call('HSET', key, 'reservation', 'reserved', 'accounts', cjson.encode(names))
appendChunk(archive, q.chunk)

local archiveKey = P .. 'archive:' .. archive
local body = limits.envelopeBytes + num(archiveKey, 'rows') * limits.entryOverheadBytes + num(archiveKey, 'paramsBytes')
local isFull = body * 1000 >= limits.bytesMax * limits.fullPermille or num(archiveKey, 'rows') * 1000 >= limits.rowsMax * limits.fullPermille
if isPrimer or isFull then
  closeArchive(archive, isPrimer and 'primer' or 'full', q.nowMs)
  closed[#closed + 1] = archive
end
return '{"kind":"packed","archive":"' .. archive .. '","closed":' .. list(closed) ..
  ',"isFlushDue":' .. tostring(flushDue(run, priority, q.nowMs)) .. '}'
