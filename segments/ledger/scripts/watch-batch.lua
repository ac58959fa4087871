-- Tells whether a batch that is not finished is to be canceled: because its run was, or because it outlives a runtime
-- budget whose policy says so. Being late is noted once, whatever the policy.
-- request  {archive, nowMs}
-- returns  {isCancelDue, isNewlyLate, deadlineMs?}
-- Atomic because the note that we asked decides what the canceled rows are called, so it is there before we ask.
local key = P .. 'archive:' .. q.archive
if get(key, 'state') ~= 'accepted' then return '{"isCancelDue":false,"isNewlyLate":false}' end
local run = get(key, 'run')
if get(P .. 'run:' .. run, 'state') == 'canceling' then redis.call('HSETNX', key, 'cancelAskedAtMs', int(q.nowMs)) end
local isNamed, deadlineMs, isNewlyLate = {}, nil, false
for _, chunk in ipairs(redis.call('LRANGE', key .. ':chunks', 0, -1)) do
  for _, name in ipairs(cjson.decode(get(P .. 'chunk:' .. chunk, 'accounts'))) do isNamed[name] = true end
end
for name in pairs(isNamed) do
  local target = string.match(name, '^(.*)@[^@]*$')
  local budget = P .. 'budget:' .. target
  local runtimeMs = tonumber(get(budget, 'runtimeMs'))
  local isWaived = get(P .. 'account:' .. name, 'runtimeWaived') == '1'
  if runtimeMs and not isWaived then
    local endsAt = num(P .. 'account:' .. name, 'startedAtMs') + runtimeMs
    if endsAt > q.nowMs then
      deadlineMs = math.min(deadlineMs or endsAt, endsAt)
    else
      if redis.call('HSETNX', key, 'lateAtMs', int(q.nowMs)) == 1 then
        isNewlyLate = true
        redis.call('HSET', key, 'reason', 'budget_runtime')
        emit(q.archive .. ':late', 'batch.late', q.archive, q.nowMs,
          { run_key = run, archive = q.archive, batch_id = get(key, 'batch'), target = target, runtime_ms = runtimeMs, policy = get(budget, 'onLate') })
      end
      if get(budget, 'onLate') == 'cancel' then redis.call('HSETNX', key, 'cancelAskedAtMs', int(q.nowMs)) end
    end
  end
end
return reply({ isCancelDue = get(key, 'cancelAskedAtMs') ~= '', isNewlyLate = isNewlyLate, deadlineMs = deadlineMs })
