-- Tells whether a batch that is not finished is to be canceled: because its run was, or because all of it outlives runtime
-- budgets whose policy says so. Being late is noted once, whatever the policy.
-- request  {archive, nowMs}
-- returns  {isCancelDue, isNewlyLate, deadlineMs?}
-- Atomic because the note that we asked decides what the canceled rows are called, so it is there before we ask.
local key = P .. 'archive:' .. q.archive
if get(key, 'state') ~= 'accepted' then return '{"isCancelDue":false,"isNewlyLate":false}' end
local run = get(key, 'run')
if get(P .. 'run:' .. run, 'state') == 'canceling' then redis.call('HSETNX', key, 'cancelAskedAtMs', int(q.nowMs)) end

-- When the runtime of an account ends and whose budget that is; nil where it bounds nothing. A chunk stands in accounts of
-- other windows than the budget has now, such as the total that is always kept, and their work began at another time.
local function runtimeOf(name)
  local targetName, window = string.match(name, '^(.*)@([^@]*)$')
  local budget, account = P .. 'budget:' .. targetName, P .. 'account:' .. name
  local runtimeMs = tonumber(get(budget, 'runtimeMs'))
  if not runtimeMs or get(budget, 'window') ~= string.match(window, '^[^=]*') or get(account, 'runtimeWaived') ~= '' then return nil end
  return { endsAtMs = num(account, 'startedAtMs') + runtimeMs, target = targetName, runtimeMs = runtimeMs, policy = get(budget, 'onLate') }
end

local chunks = redis.call('LRANGE', key .. ':chunks', 0, -1)
local runtimes, isCancelDue = {}, #chunks > 0
for _, chunk in ipairs(chunks) do
  local isOver = false
  for _, field in ipairs({ 'accounts', 'joined' }) do
    for _, name in ipairs(namesIn(P .. 'chunk:' .. chunk, field)) do
      if runtimes[name] == nil then runtimes[name] = runtimeOf(name) or false end
      local runtime = runtimes[name]
      isOver = isOver or runtime and runtime.endsAtMs <= q.nowMs and runtime.policy == 'cancel'
    end
  end
  -- A batch is canceled as a whole, and rows that are in time must not be lost with those that are late. Tails shared their
  -- archive when the budget was set, or it was open while the window turned.
  isCancelDue = isCancelDue and isOver
end

local deadlineMs, isNewlyLate = nil, false
for _, name in ipairs(namesOf(runtimes)) do
  local runtime = runtimes[name]
  if runtime and runtime.endsAtMs > q.nowMs then
    deadlineMs = math.min(deadlineMs or runtime.endsAtMs, runtime.endsAtMs)
  elseif runtime and redis.call('HSETNX', key, 'lateAtMs', int(q.nowMs)) == 1 then
    isNewlyLate = true
    redis.call('HSET', key, 'reason', 'budget_runtime')
    emit(q.archive .. ':late', 'batch.late', q.archive, q.nowMs,
      { run_key = run, archive = q.archive, batch_id = get(key, 'batch'), target = runtime.target, runtime_ms = runtime.runtimeMs, policy = runtime.policy })
  end
end
if isCancelDue then redis.call('HSETNX', key, 'cancelAskedAtMs', int(q.nowMs)) end
return reply({ isCancelDue = get(key, 'cancelAskedAtMs') ~= '', isNewlyLate = isNewlyLate, deadlineMs = deadlineMs })
