-- Reads where the ledger stands, and which server holds it at this moment.
-- request  {}
-- returns  {generation, epoch, behind, isRecovering, server}
-- Atomic because a proof is only worth something if all of it was read on one server.
local key = P .. 'standing'
return reply({ generation = num(key, 'generation'), epoch = num(key, 'epoch'), behind = get(key, 'behind'),
  isRecovering = get(key, 'recovering') == '1', server = serverRun() })
