-- Closes the open archives of one run and priority; the tails share archives, filled one after the other.
-- request  {run, priority, limits, nowMs}
-- returns  [archive] that are due to be sealed
-- Atomic because a chunk must be in exactly one archive while it moves. Bounded by the chunks of one priority's open
-- archives: at most one archive per segment.
local runKey = P .. 'run:' .. q.run
if not flushDue(q.run, q.priority, q.nowMs) then
  undue('pack', q.priority .. '|' .. q.run)
  return '[]'
end
local open = {}
local entries = redis.call('HGETALL', runKey .. ':open')
for index = 1, #entries, 2 do
  if priorityOf(entries[index]) == q.priority then open[#open + 1] = entries[index + 1] end
end
-- The order of the ids, so that the same tails always share in the same way.
table.sort(open)

local function sizeOf(rows, paramsBytes)
  return q.limits.envelopeBytes + rows * q.limits.entryOverheadBytes + paramsBytes
end

local sealable = {}
local into = open[1]
for index = 2, #open do
  local from = open[index]
  local fromKey = P .. 'archive:' .. from
  local isMoving = get(fromKey, 'alone') ~= '1' and get(P .. 'archive:' .. into, 'alone') ~= '1'
  for _, chunk in ipairs(redis.call('LRANGE', fromKey .. ':chunks', 0, -1)) do
    if not isMoving then break end
    local intoKey, chunkKey = P .. 'archive:' .. into, P .. 'chunk:' .. chunk
    local rows = num(intoKey, 'rows') + num(chunkKey, 'rows')
    local fits = rows <= q.limits.rowsMax and sizeOf(rows, num(intoKey, 'paramsBytes') + num(chunkKey, 'paramsBytes')) <= q.limits.bytesMax
    if fits then
      redis.call('LREM', fromKey .. ':chunks', 1, chunk)
      add(fromKey, 'rows', -num(chunkKey, 'rows'))
      add(fromKey, 'paramsBytes', -num(chunkKey, 'paramsBytes'))
      appendChunk(into, chunk)
    else
      isMoving = false
    end
  end
  if num(fromKey, 'rows') == 0 then
    closeArchive(from, 'flush', q.nowMs)
    undue('seal', from)
    change('archive', fromKey, 'dissolve', 'tails_shared')
    redis.call('LREM', runKey .. ':archives', 1, from)
    redis.call('DEL', fromKey .. ':prefixes')
  else
    closeArchive(into, 'flush', q.nowMs)
    sealable[#sealable + 1] = into
    into = from
  end
end
closeArchive(into, 'flush', q.nowMs)
sealable[#sealable + 1] = into
undue('pack', q.priority .. '|' .. q.run)
return list(sealable)
