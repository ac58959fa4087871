-- The lanes of the accounts at the provider, and the line in front of them.

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

-- Lets an account rest, whoever wrote the fault down first. A pause that the provider asked for is not cut short by a
-- later, milder one.
local function restLane(account, untilMs, reason)
  local lane = P .. 'lane:' .. account
  if account ~= '' and untilMs and untilMs > num(lane, 'pausedUntilMs') then
    redis.call('HSET', lane, 'pausedUntilMs', int(untilMs), 'pauseReason', reason)
  end
end

-- The client with most of an archive's tokens. An archive is of one run, so there is hardly ever more than one.
local function clientOf(archive)
  local tokens, most, total = {}, '', 0
  for _, chunk in ipairs(redis.call('LRANGE', P .. 'archive:' .. archive .. ':chunks', 0, -1)) do
    local key = P .. 'chunk:' .. chunk
    local client, expected = get(key, 'client'), num(key, 'tokensExpected')
    tokens[client] = (tokens[client] or 0) + expected
    total = total + expected
    if most == '' or tokens[client] > tokens[most] then most = client end
  end
  return most, total
end

-- Puts a sealed archive in line: by priority, then in fair shares between clients. It keeps its place for life, so what
-- the provider sent back is next. One of a canceled run ends here.
local function queueSealed(archive, at)
  local key = P .. 'archive:' .. archive
  if get(P .. 'run:' .. get(key, 'run'), 'state') == 'canceling' then return cancelArchive(archive, at) end
  local priority = get(key, 'priority')
  if get(key, 'order') == '' then redis.call('HSET', key, 'order', int(shareTag('submit:' .. priority, clientOf(archive)))) end
  redis.call('ZADD', P .. 'sealed', int(ranks[priority] * 1e15 + num(key, 'order')), archive)
  redis.call('ZADD', P .. 'sealed:since', 'NX', int(num(key, 'sealedAtMs')), archive)
  due('submit', 'next', at)
end

-- The archives in line in the order in which they go: first those that have waited longer than anybody may, then by
-- priority and share. Without the former, work of a low priority would wait for ever while higher work keeps coming.
local function inLine(patienceMs, at)
  local line = {}
  if patienceMs then line = redis.call('ZRANGEBYSCORE', P .. 'sealed:since', '-inf', int(at - patienceMs)) end
  for _, archive in ipairs(redis.call('ZRANGE', P .. 'sealed', 0, -1)) do line[#line + 1] = archive end
  return line
end

-- Submitters of both sides are woken by one and the same word. Where only work of the other side is in line, the word has reached the
-- wrong one, so another look follows after this long, ms; whoever is woken for it then may be the right one.
local othersLookMs = 2000

-- Gives the rows of an archive back to the room in the provider's queue.
local function leaveProviderQueue(account, archive)
  if account ~= '' then add(P .. 'lane:' .. account, 'rowsEnqueued', -num(P .. 'archive:' .. archive, 'rows')) end
end
