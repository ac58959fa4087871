-- Takes records away that a rebuild writes anew.
-- request  {names: [name], epoch}; names are keys without the prefix
-- returns  {isForgotten} | {isOurs: false}
-- Atomic because another rebuild may have begun since the names were listed: its records have the same names. Bounded by the
-- caller to about a thousand names.
if not isRebuilding(q.epoch) then return '{"isOurs":false}' end
for _, name in ipairs(q.names) do redis.call('UNLINK', P .. name) end
return '{"isForgotten":true}'
