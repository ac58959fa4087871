-- What is never sent goes into archives without a batch, so that every row of it is accounted for. Their settlement makes
-- dead letters of what was canceled; of what was replanned it tells the rows that go on elsewhere from those left out.

-- Ends an archive that was not sent and never will be. It is settled without results, and its reservations come back.
local function endUnsent(archive, event, reason, at)
  local key = P .. 'archive:' .. archive
  if get(key, 'state') == 'open' then
    if get(key, 'closing') == '' then closeArchive(archive, reason, at) end
    undue('seal', archive)
  end
  redis.call('ZREM', P .. 'sealed', archive)
  redis.call('ZREM', P .. 'sealed:since', archive)
  change('archive', key, event, reason)
  redis.call('HSET', key, 'endedAtMs', int(at))
  due('settle', archive, at)
end

local function cancelArchive(archive, at)
  endUnsent(archive, 'cancel', 'canceled', at)
end

-- Takes a chunk out of whatever it waits in, for an archive that is never sent. Returns the scope of the stop that held it.
local function withdraw(chunk, key, event, reason)
  local segment, run, state = get(key, 'segment'), get(key, 'run'), get(key, 'state')
  local heldBy
  if state == 'queued' then dequeue(chunk, key) end
  if state == 'held' then
    local scopes = scopesOf(segment, run, get(key, 'client'))
    -- A chunk that cannot be read has a stop of its own.
    scopes[#scopes + 1] = 'chunk|' .. chunk
    for _, scope in ipairs(scopes) do
      if redis.call('ZSCORE', P .. 'stop:' .. scope .. ':held', chunk) then
        unhold(chunk, key, scope)
        heldBy = scope
      end
    end
    redis.call('ZREM', P .. 'run:' .. run .. ':waiting', chunk)
  end
  change('chunk', key, event, reason)
  -- Nothing was reserved for it, so its settlement has nothing to return.
  redis.call('HSET', key, 'reservation', 'reserved', 'accounts', '[]')
  return heldBy
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
    withdraw(chunk, key, 'cancel', 'canceled')
    local priority = priorityOf(get(key, 'segment'))
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
