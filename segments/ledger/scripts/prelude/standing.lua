-- Where this ledger stands: whether it is the one that was proven to be as new as the lake.

-- The run id of the Redis that runs this script: another one after every start and on every replica. A script may ask
-- for it, because it is not a time and not a chance: it says which memory is being changed.
local function serverRun()
  local section = 'server'
  return string.match(redis.call('INFO', section), 'run_id:(%w+)') or ''
end

-- Why this ledger is not the one that a submitter has proven to be as new as the lake, or nil.
local function standingFault(proof)
  local key = P .. 'standing'
  if get(key, 'behind') ~= '' then return 'behind' end
  if get(key, 'recovering') == '1' then return 'recovering' end
  if num(key, 'generation') < proof.generation or num(key, 'epoch') ~= proof.epoch then return 'generation' end
  if serverRun() ~= proof.server then return 'server' end
  return nil
end

-- Notes that this ledger has forgotten what the lake knows: nothing is changed in it any more until it is rebuilt. True for the first one who finds out, to whom the event belongs.
local function noteBehind(reason, at)
  local key = P .. 'standing'
  if get(key, 'behind') ~= '' then return false end
  redis.call('HSET', key, 'behind', reason, 'behindAtMs', int(at))
  emit('ledger:behind:' .. int(at), 'ledger.behind', 'ledger', at, { reason = reason })
  return true
end

-- The reply to whoever wants to change something on a ledger that is rebuilt or is known to be behind, or nil. Every script
-- asks for it before anything else, but for those that scripts.ts lists. What is changed while the ledger is rebuilt would be
-- forgotten in the next moment, or stay where the rebuild then puts its own sums: a reservation that its accounts do not
-- know, a run without the rows that were derived. A request with `rebuild` comes from the rebuild of that epoch itself.
local function gateRefusal()
  local standing = redis.call('HMGET', P .. 'standing', 'recovering', 'behind', 'epoch')
  local isRecovering = standing[1] == '1'
  if q.rebuild then
    if isRecovering and tonumber(standing[3]) == q.rebuild then return nil end
    return '{"kind":"behind","reason":"another rebuild has begun, or Redis was set back, while this one was at work"}'
  end
  if isRecovering then return '{"kind":"behind","reason":"a rebuild of the ledger is under way or was interrupted"}' end
  if standing[2] and standing[2] ~= '' then return reply({ kind = 'behind', reason = standing[2] }) end
  return nil
end

-- The same reply, to a producer that has proven by what it was told that rows or a run have been forgotten.
local function forgotten(reason, at)
  noteBehind(reason, at)
  return reply({ kind = 'behind', reason = reason })
end

-- Whether the rebuild that asks is the one that has shut the gate. Another one that has begun since, or a Redis that was
-- set back or flushed meanwhile, holds records that this one knows nothing of.
local function isRebuilding(epoch)
  local key = P .. 'standing'
  return get(key, 'recovering') == '1' and num(key, 'epoch') == epoch
end
