-- Holds one queued chunk whose spool object cannot be read, for a while that doubles each time; others of its segment flow.
-- request  {chunk, asideMs, asideMaxMs, nowMs}
-- returns  {isHeld, isFirst, untilMs, isFlushDue}; isFirst: it was never held for this before
-- Atomic because a chunk that is held without its stop would be stranded.
local key = P .. 'chunk:' .. q.chunk
if not target('chunk', key, 'hold') then return '{"isHeld":false,"isFirst":false,"untilMs":0,"isFlushDue":false}' end
local segment, run = get(key, 'segment'), get(key, 'run')
local times = num(key, 'unread')
local untilMs = q.nowMs + math.min(q.asideMs * 2 ^ times, q.asideMaxMs)
local scope = 'chunk|' .. q.chunk
-- Named by client, too, so that the segment's own state does not change.
beginStop(scope, segment, run, get(key, 'client'), 'spool_unreadable', get(key, 'spoolKey'), 0, 0, q.nowMs)
redis.call('HSET', P .. 'stop:' .. scope, 'untilMs', int(untilMs))
add(key, 'unread', 1)
hold(q.chunk, key, scope, 'spool_unreadable')
return reply({ isHeld = true, isFirst = times == 0, untilMs = untilMs, isFlushDue = flushDue(run, priorityOf(segment), q.nowMs) })
