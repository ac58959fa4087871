-- Notes when an unfinished batch is asked for again.
-- request  {archive, pollAtMs}
-- returns  {isDeferred}
-- Atomic because the batch may have been ended by another worker meanwhile.
if get(P .. 'archive:' .. q.archive, 'state') ~= 'accepted' then return '{"isDeferred":false}' end
due('track', q.archive, q.pollAtMs)
return '{"isDeferred":true}'
