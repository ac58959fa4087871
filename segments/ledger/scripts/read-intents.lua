-- Reads the states of intents; an empty text stands for one that the ledger does not know.
-- request  {intents: [intent]}
-- returns  [state]
-- Atomic because all of them are compared with one listing of the lake. Bounded by the caller to a few hundred.
local states = {}
for index, intent in ipairs(q.intents) do states[index] = get(P .. 'intent:' .. intent, 'state') end
return list(states)
