-- Puts chunks that wait into archives that are never sent, because a replan has written others in their place.
-- request  {replan, segment, chunks: [chunk], rowsMax, isLast, by, rows, nowMs}
-- returns  {archives: [archive], taken: [chunk], gone: [chunk]}
-- Atomic because a chunk must not be packed while it is replaced: its rows would be sent twice. A chunk that does not wait
-- any more is left as it is, and the chunk that was written for it is never queued. Bounded by the caller to a few hundred
-- chunks of one run and priority; `isLast` tells of the replan once.
local isListed, archives, taken, gone, lines = {}, {}, {}, {}, {}
local open
local function close()
  if open then endUnsent(open, 'replan', 'replanned', q.nowMs) end
  open = nil
end
for _, chunk in ipairs(q.chunks) do
  local key = P .. 'chunk:' .. chunk
  local run, segment = get(key, 'run'), get(key, 'segment')
  if get(key, 'state') ~= '' and target('chunk', key, 'replan') then
    local scope = withdraw(chunk, key, 'replan', 'replanned')
    -- What is needed next is not what was: the stop is looked at anew with the next chunk.
    if scope then redis.call('HSET', P .. 'stop:' .. scope, 'tokensNeeded', 0, 'microUsdNeeded', 0) end
    if open and (get(P .. 'archive:' .. open, 'run') ~= run or num(P .. 'archive:' .. open, 'rows') + num(key, 'rows') > q.rowsMax) then close() end
    if not open then
      open = createArchive(run, priorityOf(segment), '', q.nowMs)
      redis.call('HSET', P .. 'archive:' .. open, 'replan', q.replan)
    end
    appendChunk(open, chunk)
    lines[run] = priorityOf(segment)
  end
  local archive = get(key, 'archive')
  if archive ~= '' and get(P .. 'archive:' .. archive, 'replan') == q.replan then
    taken[#taken + 1] = chunk
    if not isListed[archive] then
      isListed[archive] = true
      archives[#archives + 1] = archive
    end
  else
    gone[#gone + 1] = chunk
  end
end
close()
-- What was packed before may be the tail of its run now.
for run, priority in pairs(lines) do flushDue(run, priority, q.nowMs) end
if q.isLast and redis.call('SADD', P .. 'replans', q.replan) == 1 then
  emit('replan:' .. q.replan, 'segment.replanned', q.segment, q.nowMs, { segment = q.segment, replan = q.replan, by = q.by, rows_kept = q.rows.kept, rows_not_sampled = q.rows.notSampled })
end
return '{"archives":' .. list(archives) .. ',"taken":' .. list(taken) .. ',"gone":' .. list(gone) .. '}'
