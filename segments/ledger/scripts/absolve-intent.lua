-- Ends a doubt: no batch exists, so the archive may be sent again.
-- request  {intent, by: "adopter" | "operator", reason, scansMin, landingWaitMs, nowMs}
-- returns  {isAbsolved}
-- Atomic because fence, landing wait and empty scans are looked at in the same step that puts the archive in line again;
-- with one of them missing a second batch could be paid for.
local key = P .. 'intent:' .. q.intent
if get(key, 'state') == 'absent' then return '{"isAbsolved":true}' end
if not target('intent', key, 'absolve') then return '{"isAbsolved":false}' end
if q.by ~= 'operator' then
  local fencedAtMs = tonumber(get(key, 'fencedAtMs'))
  local isProven = get(key, 'state') == 'in_doubt' and fencedAtMs and q.nowMs >= fencedAtMs + q.landingWaitMs and num(key, 'scans') >= q.scansMin
  if not isProven then return '{"isAbsolved":false}' end
end
local archive, account = get(key, 'archive'), get(key, 'account')
local archiveKey = P .. 'archive:' .. archive
change('intent', key, 'absolve', q.reason)
change('archive', archiveKey, 'absolve', q.reason)
leaveDoubt(archive, q.nowMs)
leaveProviderQueue(account, archive)
queueSealed(archive, q.nowMs)
emit(archive .. ':absent:' .. q.intent, 'batch.absent', archive, q.nowMs,
  { run_key = get(archiveKey, 'run'), archive = archive, intent = q.intent, by = q.by, reason = q.reason })
return '{"isAbsolved":true}'
