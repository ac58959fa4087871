-- The gate: answers true exactly when the last byte of the upload may leave.
-- request  {intent, owner, nowMs}
-- returns  {isOpen}
-- Atomic because it decides what a crash means: before it, nothing was accepted; after it, only a reply or a search of
-- the workspace can tell. A sender whose lease is over finds the gate shut, however long it slept (G4).
local key = P .. 'intent:' .. q.intent
local lane = P .. 'lane:' .. get(key, 'account')
if get(lane, 'intent') ~= q.intent or get(lane, 'owner') ~= q.owner then return '{"isOpen":false}' end
if get(key, 'state') == 'sent' then return '{"isOpen":true}' end
-- A run that was canceled during the upload pays for nothing: the gate stays shut.
local run = get(P .. 'archive:' .. get(key, 'archive'), 'run')
if get(P .. 'run:' .. run, 'state') == 'canceling' then return '{"isOpen":false}' end
-- The intent was prepared on a ledger that was compared with the lake; on any other one the gate stays shut.
local server = get(key, 'server')
if server ~= '' and server ~= serverRun() then return '{"isOpen":false}' end
if num(lane, 'untilMs') <= q.nowMs or not target('intent', key, 'send') then return '{"isOpen":false}' end
change('intent', key, 'send')
redis.call('HSET', key, 'sentAtMs', int(q.nowMs))
return '{"isOpen":true}'
