-- Takes the lane of an account for the next sealed archive and writes the intent down.
-- request  {account, owner, leaseMs, queueRowsMax, nowMs}
-- returns  {kind: "prepared", intent, archive} | {kind: "nothing"} | {kind: "lane_busy", untilMs}
--        | {kind: "queue_full", rows, rowsFree} | {kind: "paused", untilMs, reason}
-- Atomic because two submitters must never hold one lane, nor two intents one archive (G3, G4).
local lane = P .. 'lane:' .. q.account
-- The lane of another account may be left behind, after a key was changed for example: nobody else would look at it.
for _, account in ipairs(redis.call('SMEMBERS', P .. 'lanes')) do
  if account ~= q.account then expire(account, q.nowMs) end
end
local held = get(lane, 'intent')
if held ~= '' then
  if get(lane, 'owner') == q.owner and get(P .. 'intent:' .. held, 'state') == 'prepared' then
    redis.call('HSET', lane, 'untilMs', int(q.nowMs + q.leaseMs))
    due('submit', 'next', q.nowMs + q.leaseMs)
    return reply({ kind = 'prepared', intent = held, archive = get(P .. 'intent:' .. held, 'archive') })
  end
  return reply({ kind = 'lane_busy', untilMs = num(lane, 'untilMs') })
end
if num(lane, 'pausedUntilMs') > q.nowMs then
  due('submit', 'next', num(lane, 'pausedUntilMs'))
  return reply({ kind = 'paused', untilMs = num(lane, 'pausedUntilMs'), reason = get(lane, 'pauseReason') })
end
local archive = redis.call('ZRANGE', P .. 'sealed', 0, 0)[1]
if not archive then
  restSubmit()
  return '{"kind":"nothing"}'
end
local key = P .. 'archive:' .. archive
local rows = num(key, 'rows')
local enqueued = num(lane, 'rowsEnqueued')
if enqueued > 0 and enqueued + rows > q.queueRowsMax then
  return reply({ kind = 'queue_full', rows = rows, rowsFree = q.queueRowsMax - enqueued })
end
change('archive', key, 'prepare')
local ordinal = add(key, 'intents', 1)
local intent = archive .. '-i' .. ordinal
redis.call('HSET', key, 'intent', intent, 'account', q.account)
redis.call('HSET', P .. 'intent:' .. intent, 'state', 'prepared', 'reason', '', 'archive', archive, 'account', q.account,
  'rows', rows, 'bodyBytes', get(key, 'bodyBytes'), 'preparedAtMs', int(q.nowMs), 'owner', q.owner, 'batch', '')
redis.call('HSET', lane, 'intent', intent, 'owner', q.owner, 'untilMs', int(q.nowMs + q.leaseMs))
redis.call('SADD', P .. 'lanes', q.account)
add(lane, 'rowsEnqueued', rows)
redis.call('ZREM', P .. 'sealed', archive)
due('submit', 'next', q.nowMs + q.leaseMs)
return reply({ kind = 'prepared', intent = intent, archive = archive })
