-- Puts a client into a tier, or out of every one, on an operator's word.
-- request  {client, tier | null, ordinal, by, setAtMs}
-- returns  {isSet}: false where a newer word holds, or this one is there already
-- Atomic because two words may come in the wrong order: the one with the higher number in the lake holds.
local known = redis.call('HGET', P .. 'tiers', q.client)
if known and cjson.decode(known).ordinal >= q.ordinal then return '{"isSet":false}' end
redis.call('HSET', P .. 'tiers', q.client, '{"tier":' .. (q.tier == cjson.null and 'null' or cjson.encode(q.tier)) .. ',"ordinal":' .. int(q.ordinal) .. ',"by":' .. cjson.encode(q.by) .. ',"setAtMs":' .. int(q.setAtMs) .. '}')
redis.call('SADD', P .. 'clients', q.client)
return '{"isSet":true}'
