-- Notes that this ledger has forgotten what the lake knows: nothing is changed in it any more.
-- request  {reason, nowMs}
-- returns  {isFirst}
-- Atomic because the event belongs to the first one who finds out.
if noteBehind(q.reason, q.nowMs) then return '{"isFirst":true}' end
return '{"isFirst":false}'
