-- Stops a segment or a run because an operator says so. What waits is held as the packer meets it.
-- request  {segment?, run?, nowMs}; one of the two; nowMs is when the operator said it
-- returns  {isNew}; false, too, for a run that the ledger does not know, because a hold must not make half of its record, and
--          for one that has ended: its end has ended its hold, and a later one, or the same word carried out once more from
--          the lake, would stop nothing for ever
-- Atomic because the segment's state and the event belong to the stop. It is a stop of its own, so that no budget that
-- gets room lets go what an operator holds.
if q.run then
  local state = get(P .. 'run:' .. q.run, 'state')
  if state == '' or state == 'complete' or state == 'canceled' then return '{"isNew":false}' end
end
local scope = q.segment and 'hold|' .. q.segment or 'run|' .. q.run
local isNew = beginStop(scope, q.segment or '', q.run or '', '', 'operator', '', 0, 0, q.nowMs)
if isNew then
  if q.run then redis.call('HSET', P .. 'run:' .. q.run, 'heldAtMs', int(q.nowMs)) end
  -- The time of the word names it: told again by a rebuild it is the same event, and no other word has its name.
  emit(scope .. ':held:' .. int(q.nowMs), q.segment and 'segment.stopped' or 'run.held', q.segment or q.run, q.nowMs,
    { segment = q.segment, run_key = q.run, reason = 'operator' })
end
return reply({ isNew = isNew })
