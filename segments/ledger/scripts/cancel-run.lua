-- Cancels a run: nothing more of it is sent, and what the provider has is to be canceled there.
-- request  {run, rowsMax, limit, nowMs}
-- returns  {kind: "canceling" | "ended" | "unknown", left, settle: [archive], track: [archive], submitting, inDoubt}
-- Atomic because a chunk that waits must not be packed, and an archive in line must not be sent, once the answer is out.
-- At most `limit` chunks are moved in one call: the caller repeats it while `left` is not 0.
local key = P .. 'run:' .. q.run
local state = get(key, 'state')
if state == '' or not (target('run', key, 'cancel') or state == 'canceling') then
  return '{"kind":"' .. (state == '' and 'unknown' or 'ended') .. '","left":0,"settle":[],"track":[],"submitting":0,"inDoubt":0}'
end
if state ~= 'canceling' then
  change('run', key, 'cancel')
  redis.call('HSET', key, 'canceledAtMs', int(q.nowMs))
  emit(q.run .. ':canceling', 'run.canceling', q.run, q.nowMs, { run_key = q.run })
end
local left = cancelWaiting(q.run, q.rowsMax, q.limit, q.nowMs)
local settle, track, submitting, inDoubt = {}, {}, 0, 0
for _, archive in ipairs(redis.call('LRANGE', key .. ':archives', 0, -1)) do
  local archiveKey = P .. 'archive:' .. archive
  if target('archive', archiveKey, 'cancel') then cancelArchive(archive, q.nowMs) end
  local standing = get(archiveKey, 'state')
  if standing == 'ended' then settle[#settle + 1] = archive end
  if standing == 'submitting' then submitting = submitting + 1 end
  if standing == 'in_doubt' then inDoubt = inDoubt + 1 end
  if standing == 'accepted' then
    redis.call('HSETNX', archiveKey, 'cancelAskedAtMs', int(q.nowMs))
    due('track', archive, q.nowMs)
    track[#track + 1] = archive
  end
end
for _, priority in ipairs({ 'high', 'normal', 'low', 'fallback' }) do undue('pack', priority .. '|' .. q.run) end
finishIfDone(q.run, q.nowMs)
return '{"kind":"canceling","left":' .. int(left) .. ',"settle":' .. list(settle) .. ',"track":' .. list(track) ..
  ',"submitting":' .. submitting .. ',"inDoubt":' .. inDoubt .. '}'
