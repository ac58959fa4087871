-- Seals a closed archive whose manifest is in the journal, and puts it in line for the submitter.
-- request  {archive, bodyBytes, bodyGmac?, bodySha256, nowMs}
-- returns  {isSealed}
-- Atomic because an archive that is sealed but not in line would be submitted only by the sweeper.
local key = P .. 'archive:' .. q.archive
if not target('archive', key, 'seal') or get(key, 'closing') == '' then return '{"isSealed":false}' end
change('archive', key, 'seal', get(key, 'closing'))
redis.call('HSET', key, 'bodyBytes', int(q.bodyBytes), 'bodySha256', q.bodySha256, 'sealedAtMs', int(q.nowMs))
if q.bodyGmac then redis.call('HSET', key, 'bodyGmac', q.bodyGmac) end
undue('seal', q.archive)
queueSealed(q.archive, q.nowMs)
return '{"isSealed":true}'
