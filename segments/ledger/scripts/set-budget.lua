-- Sets a budget. One that an operator has set is not undone by the configuration, nor by an older word of operators.
-- request  {target, mode?, tokens?, microUsd?, runtimeMs?, onLate?, window, origin: "config" | "operator", nowMs}
-- returns  {isSet}
-- Atomic because limit and window belong together, and because what the unfinished runs have reserved and spent before has
-- to stand in their accounts before anything more is admitted. That costs O(chunks of those runs), once for each budget
-- whose window becomes a run. Another runtime or window costs O(accounts), once.
local key = P .. 'budget:' .. q.target
if q.origin == 'config' and get(key, 'origin') == 'operator' then return '{"isSet":false}' end
if q.origin == 'operator' and get(key, 'origin') == 'operator' and num(key, 'setAtMs') > q.nowMs then return '{"isSet":false}' end

-- Puts the chunks that a run has packed into its account of this budget, as if the budget had been there from its start.
local function joinRun(run)
  local name = q.target .. '@run=' .. run
  local account = P .. 'account:' .. name
  for _, archive in ipairs(redis.call('LRANGE', P .. 'run:' .. run .. ':archives', 0, -1)) do
    for _, chunk in ipairs(redis.call('LRANGE', P .. 'archive:' .. archive .. ':chunks', 0, -1)) do
      local chunkKey = P .. 'chunk:' .. chunk
      local segment, reservation = get(chunkKey, 'segment'), get(chunkKey, 'reservation')
      local isOfTarget = q.target == 'all' or q.target == 'client:' .. get(chunkKey, 'client') or q.target == 'topic:' .. topicOf(segment) or q.target == 'segment:' .. segment
      local accounts, joined = namesIn(chunkKey, 'accounts'), namesIn(chunkKey, 'joined')
      local isBooked = false
      for _, names in ipairs({ accounts, joined }) do
        for _, each in ipairs(names) do isBooked = isBooked or each == name end
      end
      -- What is never sent has no reservation anywhere.
      if isOfTarget and #accounts > 0 and not isBooked then
        redis.call('SADD', P .. 'accounts', name)
        local openedAtMs, startedAtMs = num(P .. 'archive:' .. archive, 'openedAtMs'), num(account, 'startedAtMs')
        if startedAtMs == 0 or openedAtMs < startedAtMs then redis.call('HSET', account, 'startedAtMs', int(openedAtMs)) end
        if reservation == 'reserved' then
          add(account, 'tokensReserved', num(chunkKey, 'tokensMax'))
          add(account, 'microUsdReserved', num(chunkKey, 'microUsdMax'))
        elseif get(chunkKey, 'spent') ~= '' then
          bookSpentText(account, get(chunkKey, 'spent'))
        end
        -- Apart from the others: those are in the manifest of its archive, which may be written already.
        joined[#joined + 1] = name
        redis.call('HSET', chunkKey, 'joined', cjson.encode(joined))
      end
    end
  end
end

if q.window == 'run' and get(key, 'window') ~= 'run' then
  for _, run in ipairs(redis.call('SMEMBERS', P .. 'runs')) do
    local state = get(P .. 'run:' .. run, 'state')
    if state ~= 'complete' and state ~= 'canceled' then joinRun(run) end
  end
end
-- An operator who let work go in spite of its runtime has said so of the limit that was in the way then.
local runtimeText = q.runtimeMs and int(q.runtimeMs) or ''
if get(key, 'runtimeMs') ~= runtimeText or get(key, 'window') ~= q.window then
  for _, name in ipairs(redis.call('SMEMBERS', P .. 'accounts')) do
    if string.match(name, '^(.*)@[^@]*$') == q.target then redis.call('HDEL', P .. 'account:' .. name, 'runtimeWaived') end
  end
end
redis.call('HSET', key, 'tokens', q.tokens and int(q.tokens) or '', 'microUsd', q.microUsd and int(q.microUsd) or '',
  'runtimeMs', runtimeText, 'onLate', q.onLate or 'wait', 'window', q.window, 'mode', q.mode or 'strict', 'origin', q.origin, 'setAtMs', int(q.nowMs))
redis.call('SADD', P .. 'budgets', q.target)
-- A name that no budget uses any more costs a few bytes of each request.
if string.find(q.window, '|', 1, true) then redis.call('SADD', P .. 'calendars', q.window) end
return '{"isSet":true}'
