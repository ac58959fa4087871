-- Stops: what keeps a segment or a run back, and the chunks that it holds.

-- The scope of a budget's stop: the segment, within one run where `run` is not empty, and of one client where `client` is
-- not. No name of a segment, run or client holds a `|`.
local function scopeOf(segment, run, client)
  if client ~= '' then return segment .. '|' .. run .. '|' .. client end
  if run ~= '' then return segment .. '|' .. run end
  return segment
end

-- Every scope that a chunk can be held under, the widest first.
local function scopesOf(segment, run, client)
  return { 'hold|' .. segment, 'run|' .. run, segment, scopeOf(segment, run, ''), scopeOf(segment, '', client), scopeOf(segment, run, client) }
end

-- The run and the client that a stop for want of room in an account is confined to, empty: all. Others have room of their own.
local function confinesOf(account, run, client)
  return account.window == 'run' and run or '', account.isOfClient and client or ''
end

-- Whether an account can keep a stop up that holds a chunk. A narrower one cannot: the others that the stop holds do not
-- stand in it, and this chunk gets a stop of its own when it is tried again.
local function keepsUp(account, stop)
  local ofRun, ofClient = confinesOf(account, 'run', 'client')
  return (ofRun == '' or get(stop, 'run') ~= '') and (ofClient == '' or get(stop, 'client') ~= '')
end

-- The stop that keeps a chunk back, or nil.
local function stopFor(segment, run, client)
  -- Nearly always there is none at all.
  if redis.call('EXISTS', P .. 'stops') == 0 then return nil end
  for _, scope in ipairs(scopesOf(segment, run, client)) do
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

-- Writes a stop down once; the segment's state follows the first and the last of its stops. Where only one client is stopped,
-- the segment flows.
local function beginStop(scope, segment, run, client, reason, targetName, tokensNeeded, microUsdNeeded, at)
  if redis.call('SADD', P .. 'stops', scope) == 0 then return false end
  redis.call('HSET', P .. 'stop:' .. scope, 'segment', segment, 'run', run, 'client', client, 'reason', reason, 'target', targetName,
    'stoppedAtMs', int(at), 'tokensNeeded', int(tokensNeeded), 'microUsdNeeded', int(microUsdNeeded),
    'rowsHeld', 0, 'tokensHeld', 0, 'microUsdHeld', 0)
  if segment ~= '' then
    local key = P .. 'segment:' .. segment
    redis.call('SADD', P .. 'segments', segment)
    redis.call('HSETNX', key, 'state', 'flowing')
    if client == '' and add(key, 'stops', 1) == 1 then change('segment', key, 'stop', reason) end
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
  local segment, client = get(stop, 'segment'), get(stop, 'client')
  redis.call('SREM', P .. 'stops', scope)
  redis.call('DEL', stop, stop .. ':held')
  if segment ~= '' and client == '' and add(P .. 'segment:' .. segment, 'stops', -1) == 0 then
    change('segment', P .. 'segment:' .. segment, 'resume')
  end
  return queued
end
