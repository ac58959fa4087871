-- Doubts: intents of which nobody can say whether they made a batch, and what follows when that is known.

-- Puts an archive among those in doubt; the adopter looks for its batch at once. What an earlier search found is void.
local function enterDoubt(intent, archive, at)
  redis.call('SADD', P .. 'doubts', archive)
  add(P .. 'run:' .. get(P .. 'archive:' .. archive, 'run'), 'archivesInDoubt', 1)
  redis.call('HSET', P .. 'intent:' .. intent, 'scans', 0, 'lastScanAtMs', 0, 'looks', 0, 'askedAtMs', 0, 'candidates', '', 'batch', '')
  due('doubt', archive, at)
end

-- Takes an archive out of those in doubt. Its row count is free again, so an archive that waited for that is in line.
local function leaveDoubt(archive, at)
  redis.call('SREM', P .. 'doubts', archive)
  add(P .. 'run:' .. get(P .. 'archive:' .. archive, 'run'), 'archivesInDoubt', -1)
  undue('doubt', archive)
  if redis.call('ZCARD', P .. 'sealed') > 0 then due('submit', 'next', at) end
end

-- Undoes an adoption that turned out wrong: the batch belongs to somebody else, and the search goes on without it.
local function disown(intent, at)
  local key = P .. 'intent:' .. intent
  local archive, account, batch = get(key, 'archive'), get(key, 'account'), get(key, 'batch')
  local archiveKey = P .. 'archive:' .. archive
  -- An ended batch has left the provider's queue; an archive in doubt keeps its place there.
  if get(archiveKey, 'state') == 'ended' then add(P .. 'lane:' .. account, 'rowsEnqueued', num(archiveKey, 'rows')) end
  change('archive', archiveKey, 'disown', 'disowned')
  change('intent', key, 'disown', 'disowned')
  redis.call('HDEL', P .. 'batches', batch)
  redis.call('SREM', P .. 'adoptions', intent)
  redis.call('SADD', key .. ':foreign', batch)
  redis.call('HSET', archiveKey, 'batch', '', 'acceptedAtMs', '', 'endedAtMs', '')
  add(P .. 'run:' .. get(archiveKey, 'run'), 'batches', -1)
  undue('track', archive)
  undue('settle', archive)
  enterDoubt(intent, archive, at)
  emit(archive .. ':disowned:' .. batch, 'batch.disowned', archive, at,
    { run_key = get(archiveKey, 'run'), archive = archive, intent = intent, batch_id = batch })
end

-- True when another intent of the account has the same row count and no proven end: a batch that is told from others by
-- its count alone could then be either's.
local function isCountTaken(account, rows, except)
  for _, archive in ipairs(redis.call('SMEMBERS', P .. 'doubts')) do
    local key = P .. 'intent:' .. get(P .. 'archive:' .. archive, 'intent')
    if get(key, 'account') == account and num(key, 'rows') == rows and archive ~= except then return true end
  end
  return false
end

-- Remembers that an intent was given up and that its batch may still turn up until then. What is older is forgotten.
local function rememberForgone(intent, untilMs, at)
  local key = P .. 'forgone:' .. get(P .. 'intent:' .. intent, 'account')
  redis.call('ZREMRANGEBYSCORE', key, '-inf', int(at))
  redis.call('HSET', P .. 'intent:' .. intent, 'rivalUntilMs', int(untilMs))
  if untilMs > at then redis.call('ZADD', key, int(untilMs), intent) end
end

-- True when a batch of this row count may be that of an archive that was given up: it is told from others by its results.
local function isCountForgone(account, rows, at)
  for _, intent in ipairs(redis.call('ZRANGEBYSCORE', P .. 'forgone:' .. account, '(' .. int(at), '+inf')) do
    if num(P .. 'intent:' .. intent, 'rows') == rows then return true end
  end
  return false
end

-- Notes that nobody can say whether an intent made a batch. Reservation and place in the provider's queue stay.
local function doubt(intent, reason, at)
  local key = P .. 'intent:' .. intent
  local archive, account = get(key, 'archive'), get(key, 'account')
  local archiveKey = P .. 'archive:' .. archive
  change('intent', key, 'doubt', reason)
  change('archive', archiveKey, 'doubt', reason)
  redis.call('HSET', key, 'doubtedAtMs', int(at))
  enterDoubt(intent, archive, at)
  if get(P .. 'lane:' .. account, 'intent') == intent then freeLane(account, at) end
  emit(archive .. ':in_doubt:' .. intent, 'batch.in_doubt', archive, at,
    { run_key = get(archiveKey, 'run'), archive = archive, intent = intent, reason = reason })
end

-- Looks at a lane whose owner may be gone. What was not sent is refused: its last byte never left and never can, because
-- the gate is shut for the old owner from now on. What was sent is in doubt.
local function expire(account, at)
  local lane = P .. 'lane:' .. account
  local intent = get(lane, 'intent')
  if intent == '' then return 'free', 0 end
  if num(lane, 'untilMs') > at then return 'held', num(lane, 'untilMs') end
  local key = P .. 'intent:' .. intent
  if get(key, 'state') == 'sent' then
    doubt(intent, 'owner_lost', at)
    return 'in_doubt', 0
  end
  -- Another Redis than the one that prepared it may have forgotten that the gate was opened.
  local server = get(key, 'server')
  if server ~= '' and server ~= serverRun() then
    doubt(intent, 'redis_changed', at)
    return 'in_doubt', 0
  end
  local archive = get(key, 'archive')
  change('intent', key, 'refuse', 'owner_lost')
  change('archive', P .. 'archive:' .. archive, 'refuse', 'owner_lost')
  leaveProviderQueue(account, archive)
  freeLane(account, at)
  queueSealed(archive, at)
  return 'refused', 0
end
