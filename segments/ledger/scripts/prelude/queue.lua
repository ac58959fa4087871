-- The queues of the segments: what waits for a packer, and in which order.

local function priorityOf(segment)
  return string.match(segment, '[^.]+$')
end

-- The order of the priorities, in front of the packers and of the submitter.
local ranks = { high = 0, normal = 1, low = 2, fallback = 3 }

local function topicOf(segment)
  return string.match(segment, '^[^.]+')
end

-- ready:<priority> holds the segments that have queued chunks, by the smallest tag in them.
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

-- Puts a chunk whose state has just become `queued` into the queue of its segment. A chunk keeps its tag for life, so
-- what was held comes before what arrived later.
local function enqueue(chunk, key)
  local segment = get(key, 'segment')
  local order = get(key, 'order')
  if order == '' then
    order = int(shareTag('pack:' .. priorityOf(segment), get(key, 'client'), num(key, 'tokensExpected')))
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
