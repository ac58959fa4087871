-- Closes an open archive for a reason other than being full.
-- request  {archive, reason, nowMs}
-- returns  {isClosed}
-- Atomic because a chunk could be admitted between the look and the closing.
local key = P .. 'archive:' .. q.archive
if get(key, 'state') ~= 'open' or get(key, 'closing') ~= '' then return '{"isClosed":false}' end
closeArchive(q.archive, q.reason, q.nowMs)
return '{"isClosed":true}'
