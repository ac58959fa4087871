-- Stops: what keeps a segment or a run back, and the chunks that it holds.

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
