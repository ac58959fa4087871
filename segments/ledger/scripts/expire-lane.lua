-- Ends a lane whose owner is gone.
-- request  {account, nowMs}
-- returns  {kind: "free" | "held" | "refused" | "in_doubt", untilMs}
-- Atomic because the old owner may be opening the gate at this very moment.
local kind, untilMs = expire(q.account, q.nowMs)
return reply({ kind = kind, untilMs = untilMs })
