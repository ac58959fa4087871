-- Replaces an archive that the provider refused whole by two that carry its chunks on.
-- request  {intent, leftChunks, reason, nowMs}
-- returns  [archive] the two halves, due to be sealed
-- Atomic because every chunk must stay in exactly one living archive; reservations stay with the chunks.
local key = P .. 'intent:' .. q.intent
local archive, account = get(key, 'archive'), get(key, 'account')
local archiveKey = P .. 'archive:' .. archive
if not target('intent', key, 'refuse') or not target('archive', archiveKey, 'halve') then return '[]' end
local run, priority = get(archiveKey, 'run'), get(archiveKey, 'priority')
local isLeft = {}
for _, chunk in ipairs(q.leftChunks) do isLeft[chunk] = true end
local chunks = redis.call('LRANGE', archiveKey .. ':chunks', 0, -1)
local lefts = 0
for _, chunk in ipairs(chunks) do if isLeft[chunk] then lefts = lefts + 1 end end
if lefts == 0 or lefts == #chunks then error('a half of ' .. archive .. ' would be empty') end
local left, right = createArchive(run, priority, '', q.nowMs), createArchive(run, priority, '', q.nowMs)
for _, chunk in ipairs(chunks) do
  appendChunk(isLeft[chunk] and left or right, chunk)
end
change('intent', key, 'refuse', q.reason)
leaveProviderQueue(account, archive)
change('archive', archiveKey, 'halve', q.reason)
redis.call('LREM', P .. 'run:' .. run .. ':archives', 1, archive)
closeArchive(left, 'halved', q.nowMs)
closeArchive(right, 'halved', q.nowMs)
if get(P .. 'lane:' .. account, 'intent') == q.intent then freeLane(account, q.nowMs) end
return list({ left, right })
