-- Replaces a chunk by two children that cover its rows, queued or packed as it was.
-- request  {chunk, left, right, refused?, nowMs}; a part is {chunk, from, to, paramsBytes, tokensExpected, tokensMax, microUsdMax}.
--          `refused`: the intent of the archive that holds the chunk and is to be halved; without it the chunk must be queued
-- returns  [{chunk, segment, epoch}] the children that are queued
-- Atomic because rows must belong to exactly one chunk that is alive. The parts' bounds add up to the parent's, so a
-- reservation that the parent holds is carried on without touching the accounts (G2).
local key = P .. 'chunk:' .. q.chunk
if not target('chunk', key, 'split') then return '[]' end
-- The caller has looked at the rows since: by now the chunk may be in an archive whose members are journaled, or whose
-- outcome is written down, and neither may change any more. Only an archive that is refused whole is still divided.
if q.refused then
  local intentKey = P .. 'intent:' .. q.refused
  local archive = get(intentKey, 'archive')
  if get(key, 'archive') ~= archive or not target('intent', intentKey, 'refuse') or not target('archive', P .. 'archive:' .. archive, 'halve') then return '[]' end
elseif get(key, 'state') ~= 'queued' then
  return '[]'
end
for _, field in ipairs({ 'paramsBytes', 'tokensMax', 'microUsdMax' }) do
  if q.left[field] + q.right[field] ~= num(key, field) then error('the parts of ' .. q.chunk .. ' do not add up in ' .. field) end
end
if q.left.from ~= num(key, 'from') or q.right.to ~= num(key, 'to') or q.left.to + 1 ~= q.right.from then
  error('the parts of ' .. q.chunk .. ' do not cover its rows')
end
local isQueued = get(key, 'state') == 'queued'
local archive = get(key, 'archive')
local fields = redis.call('HGETALL', key)
if isQueued then dequeue(q.chunk, key) end
local queued = {}
-- What is reserved by estimate is divided, too, to the last token.
local leftEstimated = {}
for estimate, bound in pairs({ tokensEstimated = 'tokensMax', microUsdEstimated = 'microUsdMax' }) do
  local whole, of = num(key, estimate), num(key, bound)
  leftEstimated[estimate] = of > 0 and math.min(whole, math.floor(whole * q.left[bound] / of)) or 0
end
for _, part in ipairs({ q.left, q.right }) do
  local child = P .. 'chunk:' .. part.chunk
  redis.call('HSET', child, unpack(fields))
  redis.call('HSET', child, 'from', part.from, 'to', part.to, 'rows', part.to - part.from + 1, 'paramsBytes', int(part.paramsBytes),
    'tokensExpected', int(part.tokensExpected), 'tokensMax', int(part.tokensMax), 'microUsdMax', int(part.microUsdMax), 'epoch', 0)
  for estimate, share in pairs(leftEstimated) do
    redis.call('HSET', child, estimate, int(part == q.left and share or num(key, estimate) - share))
  end
  add(P .. 'run:' .. get(key, 'run'), 'chunksOpen', 1)
  if isQueued then
    queued[#queued + 1] = enqueue(part.chunk, child)
  else
    redis.call('LINSERT', P .. 'archive:' .. archive .. ':chunks', 'BEFORE', q.chunk, part.chunk)
  end
end
if not isQueued then redis.call('LREM', P .. 'archive:' .. archive .. ':chunks', 1, q.chunk) end
change('chunk', key, 'split')
redis.call('HSET', key, 'reservation', '')
add(P .. 'run:' .. get(key, 'run'), 'chunksOpen', -1)
return list(queued)
