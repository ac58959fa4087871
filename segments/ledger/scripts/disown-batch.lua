-- Undoes an adoption whose batch turned out to hold none of the archive's rows.
-- request  {archive, batch, nowMs}
-- returns  {isDisowned}
-- Atomic because batch, intent and archive must agree on whose it is, and the archive must not be settled from it.
local archiveKey = P .. 'archive:' .. q.archive
local intent = get(archiveKey, 'intent')
local key = P .. 'intent:' .. intent
if get(archiveKey, 'batch') ~= q.batch or not target('archive', archiveKey, 'disown') or not target('intent', key, 'disown') then
  return '{"isDisowned":false}'
end
disown(intent, q.nowMs)
return '{"isDisowned":true}'
