-- Writes the record of an archive with its intents, and makes it due for the stage that it waits for.
-- request  {archive, run, state, fields: {name: text}, chunks: [chunk], intents: [{intent, fields: {name: text}}], epoch, nowMs}
-- returns  {isRestored} | {isOurs: false}
-- Atomic because an archive without its intents would be sent again, and one that is not due would stand still.
if not isRebuilding(q.epoch) then return '{"isOurs":false}' end
local key = P .. 'archive:' .. q.archive
if redis.call('EXISTS', key) == 1 then return '{"isRestored":false}' end
redis.call('HSET', key, 'state', q.state, 'run', q.run)
for name, value in pairs(q.fields) do redis.call('HSET', key, name, value) end
for _, chunk in ipairs(q.chunks) do redis.call('RPUSH', key .. ':chunks', chunk) end
-- One that was halved is only remembered for its intents: its run has no files of it.
if q.state ~= 'canceled' then redis.call('RPUSH', P .. 'run:' .. q.run .. ':archives', q.archive) end
for _, each in ipairs(q.intents) do
  local intent = P .. 'intent:' .. each.intent
  for name, value in pairs(each.fields) do redis.call('HSET', intent, name, value) end
  if get(intent, 'state') == 'forgone' then
    rememberForgone(each.intent, num(intent, 'rivalUntilMs'), q.nowMs)
    redis.call('ZADD', P .. 'due:doubt', 'NX', int(q.nowMs), 'workspace|' .. get(intent, 'account'))
  end
  if get(intent, 'batch') ~= '' then redis.call('HSETNX', P .. 'batches', get(intent, 'batch'), each.intent) end
end
local account = get(key, 'account')
if account ~= '' and (q.state == 'accepted' or q.state == 'in_doubt') then
  redis.call('SADD', P .. 'lanes', account)
  redis.call('ZADD', P .. 'due:doubt', 'NX', int(q.nowMs), 'workspace|' .. account)
  add(P .. 'lane:' .. account, 'rowsEnqueued', num(key, 'rows'))
end
if q.state == 'sealed' then queueSealed(q.archive, q.nowMs) end
if q.state == 'accepted' then due('track', q.archive, q.nowMs) end
if q.state == 'ended' then due('settle', q.archive, q.nowMs) end
if q.state == 'settled' then due('export', q.archive, q.nowMs) end
if q.state == 'in_doubt' then
  redis.call('HSET', P .. 'intent:' .. get(key, 'intent'), 'doubtedAtMs', int(q.nowMs))
  enterDoubt(get(key, 'intent'), q.archive, q.nowMs)
end
return '{"isRestored":true}'
