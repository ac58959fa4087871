-- Primers. The rows of a batch are worked side by side, so each of its first rows writes a shared prefix to the provider's cache
-- at twice the price, and only later ones read it (claude-batches.md 5). So one prompt of a prefix goes ahead in a batch of its
-- own, and archives with others of it wait for that batch to end, each for a bounded time after it was sealed.
--
-- primers holds, by prefix, the archive that went ahead last, and primers:since when that was. Both forget after two days: no batch
-- takes longer than one. A ledger that was rebuilt knows of no primer, and then nothing waits. What a rehearsal sends writes nothing to
-- the provider's cache, so its prefixes are its own, and a primer of the other side primes nothing.

-- An entry of the cache lives for an hour after its last use; so long after a primer has ended it is taken to be there.
local primedMs = 50 * 60 * 1000
local primerKeptMs = 2 * 24 * 60 * 60 * 1000
local primerStates = { open = true, sealed = true, submitting = true, in_doubt = true, accepted = true }

-- The field of a prefix for a run of this side; one that is not decided may become a real one.
local function primerField(prefix, side)
  return side == 'simulated' and 'simulated|' .. prefix or prefix
end

-- The archive that went ahead last for a prefix, or nil. Its run may have come to be the other side's since.
local function primerOf(prefix, side)
  local archive = redis.call('HGET', P .. 'primers', primerField(prefix, side))
  if not archive or areApart(sideOf(archive), side) then return nil end
  return archive
end

-- Whether a primer of this prefix is on its way, or whoever answers has worked one a short while ago.
local function isPrimed(prefix, side, at)
  local archive = primerOf(prefix, side)
  if not archive then return false end
  local key = P .. 'archive:' .. archive
  return primerStates[get(key, 'state')] or (num(key, 'acceptedAtMs') > 0 and at - num(key, 'endedAtMs') < primedMs)
end

-- Notes that an archive goes ahead for a prefix.
local function beginPrimer(prefix, side, archive, at)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', P .. 'primers:since', '-inf', int(at - primerKeptMs))) do
    redis.call('ZREM', P .. 'primers:since', old)
    redis.call('HDEL', P .. 'primers', old)
  end
  redis.call('HSET', P .. 'primers', primerField(prefix, side), archive)
  redis.call('ZADD', P .. 'primers:since', int(at), primerField(prefix, side))
end

-- Until when an archive waits for primers of its prefixes before this side may take it, Unix ms; nil: it waits for none.
local function primerWaitOf(archive, side, waitMs, at)
  local key = P .. 'archive:' .. archive
  local untilMs = num(key, 'sealedAtMs') + waitMs
  if untilMs <= at then return nil end
  for _, prefix in ipairs(redis.call('SMEMBERS', key .. ':prefixes')) do
    local primer = primerOf(prefix, side)
    if primer and primer ~= archive and primerStates[get(P .. 'archive:' .. primer, 'state')] then return untilMs end
  end
  return nil
end
