-- Ends a rebuild: writes the accounts, stops what must not flow, and opens the gate.
-- request  {accounts: [{name, fields: {name: text}}], overBound: [segment], calibrations: [{topic, sample}], generation, epoch, nowMs}
-- returns  {isEnded}
-- Atomic because a ledger whose gate is open while its accounts are still missing would spend a budget twice.
local key = P .. 'standing'
if not isRebuilding(q.epoch) then return '{"isEnded":false}' end
for _, account in ipairs(q.accounts) do
  redis.call('SADD', P .. 'accounts', account.name)
  for name, value in pairs(account.fields) do redis.call('HSET', P .. 'account:' .. account.name, name, value) end
end
for _, each in ipairs(q.calibrations) do learn(each.topic, each.sample) end
for _, segment in ipairs(q.overBound) do beginStop(segment, segment, '', '', 'bound_exceeded', 'segment:' .. segment, 0, 0, q.nowMs) end
redis.call('HDEL', key, 'recovering', 'behind', 'behindAtMs')
redis.call('HSET', key, 'generation', int(q.generation))
emit('ledger:rebuilt:' .. int(q.epoch), 'ledger.rebuilt', 'ledger', q.nowMs, { epoch = q.epoch })
return '{"isEnded":true}'
