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
