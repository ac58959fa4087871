-- Notes what a look into the workspace found for an intent in doubt.
-- request  {intent, isEmpty, candidates: JSON text, landingWaitMs, spacingMs, alarmEveryMs, askedAtMs, nowMs}
-- returns  {scans, looks, isAlarm}
-- Atomic because a scan counts only if its listing began after the fence and the landing wait, and not too soon after
-- the scan before it; two adopters that look at once must not count twice.
local key = P .. 'intent:' .. q.intent
if not target('intent', key, 'absolve') then return '{"scans":0,"looks":0,"isAlarm":false}' end
local archive = get(key, 'archive')
-- The same look again, because its reply was lost, or another's of the same moment: it counts once.
if num(key, 'askedAtMs') == q.askedAtMs then return reply({ scans = num(key, 'scans'), looks = num(key, 'looks'), isAlarm = false }) end
redis.call('HSET', key, 'candidates', q.candidates, 'lookedAtMs', int(q.nowMs), 'askedAtMs', int(q.askedAtMs))
local looks = add(key, 'looks', 1)
local fencedAtMs = tonumber(get(key, 'fencedAtMs'))
if not q.isEmpty then
  redis.call('HSET', key, 'scans', 0)
elseif fencedAtMs and q.askedAtMs >= fencedAtMs + q.landingWaitMs and q.askedAtMs >= num(key, 'lastScanAtMs') + q.spacingMs then
  add(key, 'scans', 1)
  redis.call('HSET', key, 'lastScanAtMs', int(q.askedAtMs))
end
-- A doubt that a person has to end is told again, not once.
local round = math.floor((q.nowMs - num(key, 'doubtedAtMs')) / q.alarmEveryMs)
local isAlarm = round > num(key, 'alarms')
if isAlarm then
  redis.call('HSET', key, 'alarms', round)
  emit(archive .. ':in_doubt:' .. q.intent .. ':' .. round, 'batch.in_doubt', archive, q.nowMs,
    { run_key = get(P .. 'archive:' .. archive, 'run'), archive = archive, intent = q.intent, reason = get(key, 'reason'),
      state = get(key, 'state'), doubted_ms = q.nowMs - num(key, 'doubtedAtMs') })
end
return reply({ scans = num(key, 'scans'), looks = looks, isAlarm = isAlarm })
