-- Sets a budget. One that an operator has set is not undone by the configuration.
-- request  {target, mode?, tokens?, microUsd?, runtimeMs?, onLate?, window, origin: "config" | "operator", nowMs}
-- returns  {isSet}
-- Atomic because limit and window belong together.
local key = P .. 'budget:' .. q.target
if q.origin == 'config' and get(key, 'origin') == 'operator' then return '{"isSet":false}' end
redis.call('HSET', key, 'tokens', q.tokens and int(q.tokens) or '', 'microUsd', q.microUsd and int(q.microUsd) or '',
  'runtimeMs', q.runtimeMs and int(q.runtimeMs) or '', 'onLate', q.onLate or 'wait', 'window', q.window, 'mode', q.mode or 'strict', 'origin', q.origin, 'setAtMs', int(q.nowMs))
redis.call('SADD', P .. 'budgets', q.target)
-- A name that no budget uses any more costs a few bytes of each request.
if string.find(q.window, '|', 1, true) then redis.call('SADD', P .. 'calendars', q.window) end
return '{"isSet":true}'
