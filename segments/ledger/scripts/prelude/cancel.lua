-- Cancellation: what was not sent goes into archives without a batch, whose settlement makes dead letters of its rows.

-- Ends an archive that was not sent and never will be. It is settled without results: its reservations come back, and
-- its rows become dead letters.
local function cancelArchive(archive, at)
  local key = P .. 'archive:' .. archive
  if get(key, 'state') == 'open' then
    if get(key, 'closing') == '' then closeArchive(archive, 'canceled', at) end
    undue('seal', archive)
  end
  redis.call('ZREM', P .. 'sealed', archive)
  redis.call('ZREM', P .. 'sealed:since', archive)
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
