-- Chunks and archives: how they are made, filled and closed, and when a run is done.

-- Writes a chunk's record from a spool object's footer. The caller decides whether it is queued.
local function createChunk(footer, spoolKey)
  local key = P .. 'chunk:' .. footer.chunk
  redis.call('HSET', key, 'state', 'spooled', 'reason', '', 'run', footer.run, 'segment', footer.segment,
    'client', footer.client, 'attempt', footer.attempt, 'spoolKey', spoolKey, 'spoolRows', footer.rows,
    'spoolParamsBytes', footer.paramsBytes, 'spoolIndexBytes', footer.indexBytes, 'from', 0, 'to', footer.rows - 1,
    'rows', footer.rows, 'paramsBytes', footer.paramsBytes, 'tokensExpected', int(footer.tokensExpected),
    'tokensMax', int(footer.tokensMax), 'microUsdMax', int(footer.microUsdMax), 'archive', '',
    'models', footer.models and list(footer.models) or '')
  if footer.prefix then redis.call('HSET', key, 'prefix', footer.prefix, 'primes', footer.primes and '1' or '') end
  local run = P .. 'run:' .. footer.run
  add(run, 'chunks', 1)
  add(run, 'chunksOpen', 1)
  return key
end

-- Closes an open archive: nothing more goes in, and it is due to be sealed.
local function closeArchive(archive, reason, at)
  local key = P .. 'archive:' .. archive
  local run, priority = get(key, 'run'), get(key, 'priority')
  redis.call('HSET', key, 'closing', reason)
  if get(key, 'segment') ~= '' then redis.call('HDEL', P .. 'run:' .. run .. ':open', get(key, 'segment')) end
  -- Without an open archive there are no tails to share.
  if add(P .. 'run:' .. run, 'archivesOpen:' .. priority, -1) == 0 then undue('pack', priority .. '|' .. run) end
  due('seal', archive, at)
end

-- Makes an archive of a run. `segment` is empty for one that is filled at once and never admits.
local function createArchive(run, priority, segment, at)
  local runKey = P .. 'run:' .. run
  local ordinal = add(runKey, 'archiveOrdinal', 1)
  local archive = get(runKey, 'tag') .. '-' .. string.format('%06d', ordinal)
  redis.call('HSET', P .. 'archive:' .. archive, 'state', 'open', 'reason', '', 'run', run, 'dt', get(runKey, 'dt'),
    'priority', priority, 'segment', segment, 'closing', '', 'rows', 0, 'paramsBytes', 0, 'openedAtMs', int(at),
    'intents', 0, 'intent', '', 'epoch', 0)
  redis.call('RPUSH', runKey .. ':archives', archive)
  add(runKey, 'archivesOpen:' .. priority, 1)
  return archive
end

local function appendChunk(archive, chunk)
  local key, chunkKey = P .. 'archive:' .. archive, P .. 'chunk:' .. chunk
  redis.call('RPUSH', key .. ':chunks', chunk)
  add(key, 'rows', num(chunkKey, 'rows'))
  add(key, 'paramsBytes', num(chunkKey, 'paramsBytes'))
  redis.call('HSET', chunkKey, 'archive', archive)
  local prefix = get(chunkKey, 'prefix')
  if prefix ~= '' then redis.call('SADD', key .. ':prefixes', prefix) end
end

-- A run goes on to its manifest when its source is read, or when it was canceled.
local function isEnding(run)
  local state = get(P .. 'run:' .. run, 'state')
  return state == 'open' or state == 'canceling'
end

-- A run is done when nothing more comes into it and no chunk of it is open; its manifest is due then.
local function finishIfDone(run, at)
  local key = P .. 'run:' .. run
  if not isEnding(run) or num(key, 'chunksOpen') ~= 0 then return false end
  redis.call('HSETNX', key, 'finishedAtMs', int(at))
  due('gather', run, at)
  return true
end
