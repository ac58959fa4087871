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

local ranks = { high = 0, normal = 1, low = 2, fallback = 3 }

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
