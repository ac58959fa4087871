-- Notes which lake the ledger belongs to, the first time, and says which one it is.
-- request  {lake}
-- returns  {lake}
-- Atomic because two processes may open a new installation at once.
redis.call('SETNX', P .. 'lake', q.lake)
return reply({ lake = redis.call('GET', P .. 'lake') })
