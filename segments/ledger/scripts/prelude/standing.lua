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

-- Notes that this ledger has forgotten what the lake knows: no intent is prepared, no gate opens and nothing is taken in any
-- more. True for the first one who finds out, to whom the event belongs.
local function noteBehind(reason, at)
  local key = P .. 'standing'
  if get(key, 'behind') ~= '' then return false end
  redis.call('HSET', key, 'behind', reason, 'behindAtMs', int(at))
  emit('ledger:behind:' .. int(at), 'ledger.behind', 'ledger', at, { reason = reason })
  return true
end

-- The reply to a producer that must not go on, or nil. What is taken in while the ledger is rebuilt would be forgotten in the
-- next moment, or make a run that the rebuild then takes for its own, without the rows that it has derived.
local function intakeRefusal()
  local key = P .. 'standing'
  if get(key, 'recovering') == '1' then return '{"kind":"behind","reason":"a rebuild of the ledger is under way or was interrupted"}' end
  if get(key, 'behind') ~= '' then return reply({ kind = 'behind', reason = get(key, 'behind') }) end
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
