-- Stops a segment because an account has no room for its next prompt, and holds the chunk. Where the account is that of a client
-- or of a run, only what that client or run has in the segment is stopped.
-- request  {chunk, target, reason, tokensNeeded, microUsdNeeded, windows, nowMs}; what is needed are upper bounds
-- returns  {kind: "stopped" | "room" | "stale", isFlushDue}
-- Atomic because room may have come back since the refusal: then nothing may be held, or nobody would let it go.
local unknown = unknownWindows()
if unknown then return unknown end
local key = P .. 'chunk:' .. q.chunk
if not target('chunk', key, 'hold') then return '{"kind":"stale","isFlushDue":false}' end
local segment, run, client = get(key, 'segment'), get(key, 'run'), get(key, 'client')
local blocking
for _, account in ipairs(accountsOf(segment, client, run, q.nowMs)) do
  local tokensFree, microUsdFree = roomOf(account)
  local tokensPermille, microUsdPermille = sharesIn(account, key)
  local tokensNeeded, microUsdNeeded = shareOf(q.tokensNeeded, tokensPermille), shareOf(q.microUsdNeeded, microUsdPermille)
  if account.target == q.target and q.reason == 'budget_runtime' then
    if isLate(account, key, q.nowMs) then blocking = account end
  elseif account.target == q.target and ((tokensFree and tokensNeeded > tokensFree) or (microUsdFree and microUsdNeeded > microUsdFree)) then
    blocking = account
  end
end
if not blocking then return '{"kind":"room","isFlushDue":false}' end
local ofRun, ofClient = confinesOf(blocking, run, client)
local scope = scopeOf(segment, ofRun, ofClient)
local isNew = beginStop(scope, segment, ofRun, ofClient, q.reason, q.target, q.tokensNeeded, q.microUsdNeeded, q.nowMs)
hold(q.chunk, key, scope, q.reason)
if isNew then
  -- The count tells two stops of one millisecond apart and begins anew with every rebuild; the time does not. An id that came
  -- twice would be dropped as a repetition.
  local stops = redis.call('INCR', P .. 'stops:count')
  emit(scope .. ':stopped:' .. int(q.nowMs) .. '-' .. stops, 'segment.stopped', segment, q.nowMs,
    { segment = segment, run_key = run, client = ofClient ~= '' and ofClient or nil, reason = q.reason, target = q.target, tokens_needed = q.tokensNeeded, micro_usd_needed = q.microUsdNeeded })
  local unit = q.reason == 'budget_tokens' and 'tokens' or 'microUsd'
  local limit = q.reason ~= 'budget_runtime' and blocking[unit]
  if limit then tellBudget(blocking.name, blocking.target, unit, 'exceeded', limit, q.nowMs) end
end
return reply({ kind = 'stopped', isFlushDue = flushDue(run, priorityOf(segment), q.nowMs) })
