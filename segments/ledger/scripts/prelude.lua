-- What every script of the ledger begins with. It is put before the script's own text when the scripts are loaded,
-- together with MOVES, the table of allowed moves made from lifecycle.ts.
--
-- KEYS[1]  the prefix of all keys, for example "{plimsoll}:". Every key that a script touches begins with it, so all
--          of them live in one slot of a cluster.
-- ARGV[1]  the request as JSON. Times are Unix ms and come from the caller: a script never asks the clock.
-- A script returns JSON. Amounts stay below 2^53, where Lua's numbers are exact.

local P = KEYS[1]
local q = cjson.decode(ARGV[1])

local function get(key, field)
  local value = redis.call('HGET', key, field)
  if not value then return '' end
  return value
end

local function num(key, field)
  return tonumber(get(key, field)) or 0
end

local function add(key, field, by)
  return redis.call('HINCRBY', key, field, string.format('%.0f', by))
end

local function int(value)
  return string.format('%.0f', value)
end

local function reply(value)
  return cjson.encode(value)
end

-- JSON text of a list; an empty Lua table would be taken for an object.
local function list(values)
  if #values == 0 then return '[]' end
  return cjson.encode(values)
end

-- The state that an event leads to, or nil when lifecycle.ts does not allow the move (L1).
local function target(noun, key, event)
  local moves = MOVES[noun][get(key, 'state')]
  return moves and moves[event]
end

-- Makes a move. A move that is not allowed is a defect: the whole script is undone by failing before anything is written,
-- so callers ask target() first wherever the state may have moved on.
local function change(noun, key, event, reason)
  local to = target(noun, key, event)
  if not to then
    error('illegal move of ' .. noun .. ' ' .. key .. ': ' .. event .. ' from ' .. get(key, 'state'))
  end
  redis.call('HSET', key, 'state', to, 'reason', reason or '')
  return to
end

local function due(stage, entity, at)
  redis.call('ZADD', P .. 'due:' .. stage, int(at), entity)
end

local function undue(stage, entity)
  redis.call('ZREM', P .. 'due:' .. stage, entity)
  redis.call('HDEL', P .. 'claims', stage .. '|' .. entity)
  redis.call('HDEL', P .. 'epochs', stage .. '|' .. entity)
end

-- Writes an event into the outbox; numbered without gaps, so a consumer sees when one is missing. `data` is a table, or
-- JSON text that the caller has made: cjson would turn its empty lists into objects and round its long numbers.
local function emit(id, kind, subject, at, data)
  local sequence = redis.call('INCR', P .. 'events:sequence')
  redis.call('XADD', P .. 'events', sequence .. '-0', 'id', id, 'type', kind, 'subject', subject, 'time', int(at),
    'data', type(data) == 'string' and data or cjson.encode(data))
end

-- Tells of one limit of an account that it is nearly spent ("warning") or has no room left ("exceeded"): once for each
-- limit, so that raising it lets the same be told again.
local function tellBudget(account, targetName, unit, level, limit, at)
  local key = P .. 'account:' .. account
  if get(key, level .. ':' .. unit) == int(limit) then return end
  redis.call('HSET', key, level .. ':' .. unit, int(limit))
  emit('budget:' .. account .. ':' .. unit .. ':' .. level .. ':' .. int(limit), 'budget.' .. level, targetName, at,
    { target = targetName, account = account, unit = unit == 'tokens' and 'tokens' or 'micro_usd', limit = limit,
      spent = num(key, unit .. 'Spent'), reserved = num(key, unit .. 'Reserved') })
end

-- Tells whether four fifths of an account's limits are spent, or more than all of them. The account of another window
-- than the budget has now is not judged.
local function tellSpending(account, at)
  local targetName, window = string.match(account, '^(.*)@([^@]*)$')
  local budget = P .. 'budget:' .. targetName
  if get(budget, 'window') ~= string.match(window, '^[^=]*') then return end
  for _, unit in ipairs({ 'tokens', 'microUsd' }) do
    local limit, spent = tonumber(get(budget, unit)), num(P .. 'account:' .. account, unit .. 'Spent')
    if limit and limit > 0 then
      if spent * 5 >= limit * 4 then tellBudget(account, targetName, unit, 'warning', limit, at) end
      if spent > limit then tellBudget(account, targetName, unit, 'exceeded', limit, at) end
    end
  end
end

-- The run id of the Redis that runs this script: another one after every start and on every replica. A script may ask
-- for it, because it is not a time and not a chance: it says which memory is being changed.
local function serverRun()
  local section = 'server'
  return string.match(redis.call('INFO', section), 'run_id:(%w+)') or ''
end

-- Why this ledger is not the one that a submitter has proven to be as new as the lake, or nil.
local function standingFault(proof)
  local key = P .. 'standing'
  if get(key, 'behind') ~= '' then return 'behind' end
  if get(key, 'recovering') == '1' then return 'recovering' end
  if num(key, 'generation') < proof.generation or num(key, 'epoch') ~= proof.epoch then return 'generation' end
  if serverRun() ~= proof.server then return 'server' end
  return nil
end

local function priorityOf(segment)
  return string.match(segment, '[^.]+$')
end

local function topicOf(segment)
  return string.match(segment, '^[^.]+')
end

-- ready:<priority> holds the segments that have queued chunks, by the order of their oldest chunk.
local function refreshReady(segment)
  local first = redis.call('ZRANGE', P .. 'queued:' .. segment, 0, 0, 'WITHSCORES')
  local key = P .. 'ready:' .. priorityOf(segment)
  if first[2] then redis.call('ZADD', key, first[2], segment) else redis.call('ZREM', key, segment) end
end

local function countQueued(chunk, key, sign)
  local segment, run, rows = get(key, 'segment'), get(key, 'run'), num(key, 'rows')
  add(P .. 'segment:' .. segment, 'rowsQueued', sign * rows)
  add(P .. 'segment:' .. segment, 'chunksQueued', sign)
  add(P .. 'run:' .. run, 'rowsQueued', sign * rows)
  add(P .. 'run:' .. run, 'queued:' .. priorityOf(segment), sign)
end

-- Puts a chunk whose state has just become `queued` into the queue of its segment. A chunk keeps its order for life,
-- so what was held comes before what arrived later.
local function enqueue(chunk, key)
  local segment = get(key, 'segment')
  local order = get(key, 'order')
  if order == '' then
    order = redis.call('INCR', P .. 'order')
    redis.call('HSET', key, 'order', order)
  end
  redis.call('ZADD', P .. 'queued:' .. segment, order, chunk)
  redis.call('ZADD', P .. 'run:' .. get(key, 'run') .. ':waiting', order, chunk)
  if redis.call('SADD', P .. 'segments', segment) == 1 then
    redis.call('HSETNX', P .. 'segment:' .. segment, 'state', 'flowing')
  end
  countQueued(chunk, key, 1)
  refreshReady(segment)
  return { chunk = chunk, segment = segment, epoch = add(key, 'epoch', 1) }
end

local function dequeue(chunk, key)
  local segment = get(key, 'segment')
  redis.call('ZREM', P .. 'queued:' .. segment, chunk)
  redis.call('ZREM', P .. 'run:' .. get(key, 'run') .. ':waiting', chunk)
  countQueued(chunk, key, -1)
  refreshReady(segment)
end

-- True when nothing of this run and priority waits for a packer any more and its open archives can be shared.
-- It is written down as due at once, so that a packer that dies now is only late.
local function flushDue(run, priority, at)
  local key = P .. 'run:' .. run
  local isDue = get(key, 'state') == 'open' and num(key, 'queued:' .. priority) == 0 and num(key, 'archivesOpen:' .. priority) > 0
  if isDue then due('pack', priority .. '|' .. run, at) end
  return isDue
end

local spans = { s = 1000, m = 60000, h = 3600000, d = 86400000 }

-- The window that an instant falls into. Spans are aligned to the Unix epoch, in UTC.
local function windowOf(window, run, at)
  if window == 'run' then return 'run=' .. run end
  local count, unit = string.match(window, '^(%d+)([smhd])$')
  if not count then return 'total' end
  local span = tonumber(count) * spans[unit]
  return window .. '=' .. int(at - at % span)
end

-- The accounts that a reservation of this chunk must pass, each with the limits of its budget (nil: none).
-- The total of the installation is always kept, with or without a budget on it.
local function accountsOf(segment, client, run, at)
  local targets = { 'all', 'client:' .. client, 'topic:' .. topicOf(segment), 'segment:' .. segment }
  local accounts = { { target = 'all', name = 'all@total' } }
  for _, name in ipairs(targets) do
    local budget = P .. 'budget:' .. name
    local window = windowOf(get(budget, 'window'), run, at)
    local account = { target = name, name = name .. '@' .. window, window = get(budget, 'window') }
    account.tokens = tonumber(get(budget, 'tokens'))
    account.microUsd = tonumber(get(budget, 'microUsd'))
    account.runtimeMs = tonumber(get(budget, 'runtimeMs'))
    account.onLate = get(budget, 'onLate')
    if account.name == 'all@total' then accounts[1] = account else accounts[#accounts + 1] = account end
  end
  return accounts
end

-- Room of an account for tokens and for money; nil where it has no limit.
local function roomOf(account)
  local key = P .. 'account:' .. account.name
  local tokens, microUsd
  if account.tokens then tokens = account.tokens - num(key, 'tokensReserved') - num(key, 'tokensSpent') end
  if account.microUsd then microUsd = account.microUsd - num(key, 'microUsdReserved') - num(key, 'microUsdSpent') end
  return tokens, microUsd
end

-- How long an archive of a segment has to be expected to take, from its opening to its settlement: the longest that was
-- seen lately, with a margin that shrinks as more were seen; of the segment itself, else of the whole installation.
-- nil: nothing was seen yet.
local dayMs = 86400000
local function turnaroundOf(segment)
  for _, name in ipairs({ segment, 'all' }) do
    local seen = redis.call('LRANGE', P .. 'turnaround:' .. name, 0, -1)
    local longest = 0
    for _, ms in ipairs(seen) do longest = math.max(longest, tonumber(ms)) end
    if #seen > 0 then return math.min(math.floor(longest * (1 + 2 / #seen)), dayMs), #seen end
  end
  return nil, 0
end

-- When the work of an account began within its window. An account whose window never ends begins anew whenever nothing
-- of it is reserved: its runtime is that of one stretch of work.
local function startedAt(account, at)
  local key = P .. 'account:' .. account.name
  local isEndless = string.sub(account.name, -6) == '@total'
  if isEndless and num(key, 'tokensReserved') == 0 then return at end
  local started = num(key, 'startedAtMs')
  return started > 0 and started or at
end

-- Whether work that is begun now is likely to end after the runtime of its account. What was never seen is expected to
-- take a day, which is as long as the provider may take; but where a late batch is canceled the work may begin, because
-- then it ends in time whatever happens.
local function isLate(account, segment, at)
  if not account.runtimeMs or get(P .. 'account:' .. account.name, 'runtimeWaived') == '1' then return false end
  local expectedMs = turnaroundOf(segment) or (account.onLate == 'cancel' and 0 or dayMs)
  return at + expectedMs > startedAt(account, at) + account.runtimeMs
end

-- The scope of a stop: the segment, or the segment within one run where the budget's window is a run.
local function scopeOf(segment, run, window)
  if window == 'run' then return segment .. '|' .. run end
  return segment
end

-- The stop that keeps a chunk back, or nil.
local function stopFor(segment, run)
  for _, scope in ipairs({ 'hold|' .. segment, 'run|' .. run, segment, segment .. '|' .. run }) do
    if redis.call('SISMEMBER', P .. 'stops', scope) == 1 then return scope end
  end
  return nil
end

-- Holds a queued chunk under a stop.
local function hold(chunk, key, scope, reason)
  dequeue(chunk, key)
  change('chunk', key, 'hold', reason)
  redis.call('ZADD', P .. 'run:' .. get(key, 'run') .. ':waiting', get(key, 'order'), chunk)
  redis.call('ZADD', P .. 'stop:' .. scope .. ':held', get(key, 'order'), chunk)
  local segment, run, rows = get(key, 'segment'), get(key, 'run'), num(key, 'rows')
  add(P .. 'stop:' .. scope, 'rowsHeld', rows)
  add(P .. 'stop:' .. scope, 'tokensHeld', num(key, 'tokensMax'))
  add(P .. 'stop:' .. scope, 'microUsdHeld', num(key, 'microUsdMax'))
  add(P .. 'segment:' .. segment, 'rowsHeld', rows)
  add(P .. 'segment:' .. segment, 'chunksHeld', 1)
  add(P .. 'run:' .. run, 'rowsHeld', rows)
  add(P .. 'run:' .. run, 'chunksHeld', 1)
end

-- Takes a chunk out of the held ones of a stop; the caller moves its state.
local function unhold(chunk, key, scope)
  redis.call('ZREM', P .. 'stop:' .. scope .. ':held', chunk)
  local segment, run, rows = get(key, 'segment'), get(key, 'run'), num(key, 'rows')
  add(P .. 'stop:' .. scope, 'rowsHeld', -rows)
  add(P .. 'stop:' .. scope, 'tokensHeld', -num(key, 'tokensMax'))
  add(P .. 'stop:' .. scope, 'microUsdHeld', -num(key, 'microUsdMax'))
  add(P .. 'segment:' .. segment, 'rowsHeld', -rows)
  add(P .. 'segment:' .. segment, 'chunksHeld', -1)
  add(P .. 'run:' .. run, 'rowsHeld', -rows)
  add(P .. 'run:' .. run, 'chunksHeld', -1)
end

-- Writes a stop down once; the segment's state follows the first and the last of its stops.
local function beginStop(scope, segment, run, reason, targetName, tokensNeeded, microUsdNeeded, at)
  if redis.call('SADD', P .. 'stops', scope) == 0 then return false end
  redis.call('HSET', P .. 'stop:' .. scope, 'segment', segment, 'run', run, 'reason', reason, 'target', targetName,
    'stoppedAtMs', int(at), 'tokensNeeded', int(tokensNeeded), 'microUsdNeeded', int(microUsdNeeded),
    'rowsHeld', 0, 'tokensHeld', 0, 'microUsdHeld', 0)
  if segment ~= '' then
    local key = P .. 'segment:' .. segment
    redis.call('SADD', P .. 'segments', segment)
    redis.call('HSETNX', key, 'state', 'flowing')
    if add(key, 'stops', 1) == 1 then change('segment', key, 'stop', reason) end
  end
  return true
end

-- Takes a stop away and queues what it held. The cost is O(chunks held by this stop): ids only, never prompts.
local function endStop(scope)
  local queued = {}
  local stop = P .. 'stop:' .. scope
  for _, chunk in ipairs(redis.call('ZRANGE', stop .. ':held', 0, -1)) do
    local key = P .. 'chunk:' .. chunk
    unhold(chunk, key, scope)
    change('chunk', key, 'resume')
    queued[#queued + 1] = enqueue(chunk, key)
  end
  local segment = get(stop, 'segment')
  redis.call('SREM', P .. 'stops', scope)
  redis.call('DEL', stop, stop .. ':held')
  if segment ~= '' and add(P .. 'segment:' .. segment, 'stops', -1) == 0 then
    change('segment', P .. 'segment:' .. segment, 'resume')
  end
  return queued
end

-- Writes a chunk's record from a spool object's footer. The caller decides whether it is queued.
local function createChunk(footer, spoolKey)
  local key = P .. 'chunk:' .. footer.chunk
  redis.call('HSET', key, 'state', 'spooled', 'reason', '', 'run', footer.run, 'segment', footer.segment,
    'client', footer.client, 'attempt', footer.attempt, 'spoolKey', spoolKey, 'spoolRows', footer.rows,
    'spoolParamsBytes', footer.paramsBytes, 'spoolIndexBytes', footer.indexBytes, 'from', 0, 'to', footer.rows - 1,
    'rows', footer.rows, 'paramsBytes', footer.paramsBytes, 'tokensExpected', int(footer.tokensExpected),
    'tokensMax', int(footer.tokensMax), 'microUsdMax', int(footer.microUsdMax), 'archive', '')
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

-- The submitter has nothing in line. It is still due when a lane's lease ends: whoever holds it may have died, and only
-- another look at the lane finds that out.
local function restSubmit()
  local wakeAt
  for _, account in ipairs(redis.call('SMEMBERS', P .. 'lanes')) do
    local lane = P .. 'lane:' .. account
    local untilMs = num(lane, 'untilMs')
    if get(lane, 'intent') ~= '' and (not wakeAt or untilMs < wakeAt) then wakeAt = untilMs end
  end
  if wakeAt then due('submit', 'next', wakeAt) else undue('submit', 'next') end
end

-- Frees the lane of an account and lets the next archive be submitted.
local function freeLane(account, at)
  redis.call('HSET', P .. 'lane:' .. account, 'intent', '', 'owner', '', 'untilMs', 0)
  if redis.call('ZCARD', P .. 'sealed') > 0 then due('submit', 'next', at) else restSubmit() end
end

local ranks = { high = 0, normal = 1, low = 2, fallback = 3 }

-- Ends an archive that was not sent and never will be. It is settled without results: its reservations come back, and
-- its rows become dead letters.
local function cancelArchive(archive, at)
  local key = P .. 'archive:' .. archive
  if get(key, 'state') == 'open' then
    if get(key, 'closing') == '' then closeArchive(archive, 'canceled', at) end
    undue('seal', archive)
  end
  redis.call('ZREM', P .. 'sealed', archive)
  change('archive', key, 'cancel', 'canceled')
  redis.call('HSET', key, 'endedAtMs', int(at))
  due('settle', archive, at)
end

-- Puts what waits of a canceled run into archives that are never sent, so that every row of it is accounted for. At most
-- `limit` chunks; what is left waits for the next call.
local function cancelWaiting(run, rowsMax, limit, at)
  local runKey = P .. 'run:' .. run
  local chunks = redis.call('ZRANGE', runKey .. ':waiting', 0, limit - 1)
  for _, chunk in ipairs(redis.call('LRANGE', runKey .. ':spooled', 0, limit - 1)) do chunks[#chunks + 1] = chunk end
  redis.call('LTRIM', runKey .. ':spooled', limit, -1)
  local open = {}
  for _, chunk in ipairs(chunks) do
    local key = P .. 'chunk:' .. chunk
    local segment, state = get(key, 'segment'), get(key, 'state')
    if state == 'queued' then dequeue(chunk, key) end
    if state == 'held' then
      for _, scope in ipairs({ 'hold|' .. segment, 'run|' .. run, segment, segment .. '|' .. run }) do
        if redis.call('ZSCORE', P .. 'stop:' .. scope .. ':held', chunk) then unhold(chunk, key, scope) end
      end
      redis.call('ZREM', runKey .. ':waiting', chunk)
    end
    change('chunk', key, 'cancel', 'canceled')
    -- Nothing was reserved for it, so its settlement has nothing to return.
    redis.call('HSET', key, 'reservation', 'reserved', 'accounts', '[]')
    local priority = priorityOf(segment)
    if open[priority] and num(P .. 'archive:' .. open[priority], 'rows') + num(key, 'rows') > rowsMax then
      cancelArchive(open[priority], at)
      open[priority] = nil
    end
    open[priority] = open[priority] or createArchive(run, priority, '', at)
    appendChunk(open[priority], chunk)
  end
  for _, priority in ipairs({ 'high', 'normal', 'low', 'fallback' }) do
    if open[priority] then cancelArchive(open[priority], at) end
  end
  return redis.call('ZCARD', runKey .. ':waiting') + redis.call('LLEN', runKey .. ':spooled')
end

-- Puts a sealed archive in line: by priority, then by age. One of a canceled run ends here.
local function queueSealed(archive, at)
  local key = P .. 'archive:' .. archive
  if get(P .. 'run:' .. get(key, 'run'), 'state') == 'canceling' then return cancelArchive(archive, at) end
  redis.call('ZADD', P .. 'sealed', int(ranks[get(key, 'priority')] * 1e14 + num(key, 'openedAtMs')), archive)
  due('submit', 'next', at)
end

-- Gives the rows of an archive back to the room in the provider's queue.
local function leaveProviderQueue(account, archive)
  if account ~= '' then add(P .. 'lane:' .. account, 'rowsEnqueued', -num(P .. 'archive:' .. archive, 'rows')) end
end

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
