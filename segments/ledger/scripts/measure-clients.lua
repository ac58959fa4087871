-- Measures what clients hand in with a run, and finds the row from which on it is too much for the tier of each.
-- request  {run, clients: [{client, rows: [[row, tokens, context]], floorRow, tier?: {name, over, limits}, known?}], nowMs}
-- returns  {deferrals: {client: text}}: what is decided for each of them, as JSON text of a Deferral (quota.ts)
-- Atomic because producers of one client share its minute and its day, and because the row must be decided once: two that
-- read the same run would put the same rows into different segments. A row is measured once, however often it is sent.
local lengthOfMinuteMs, lengthOfDayMs, daysKept = 60000, 86400000, 400
local run = P .. 'run:' .. q.run .. ':clients'
-- Name of a rate, the field that counts it, and what one row adds: 0 for itself, 2 for its tokens.
local rates = { { 'requestsPerDay', 'dayRequests', 0 }, { 'tokensPerDay', 'dayTokens', 2 }, { 'requestsPerMinute', 'minuteRequests', 0 }, { 'tokensPerMinute', 'minuteTokens', 2 } }

-- What a client has used of the minute and the day. A call that comes late with an old time belongs to those that are there.
local function usedOf(key)
  local minute = math.max(num(key, 'minute'), q.nowMs - q.nowMs % lengthOfMinuteMs)
  local day = math.max(num(key, 'day'), q.nowMs - q.nowMs % lengthOfDayMs)
  local isMinute, isDay = num(key, 'minute') == minute, num(key, 'day') == day
  local used = { minute = minute, day = day }
  for _, field in ipairs({ 'minuteRequests', 'minuteTokens', 'minuteRequestsAsked', 'minuteTokensAsked' }) do used[field] = isMinute and num(key, field) or 0 end
  for _, field in ipairs({ 'dayRequests', 'dayTokens' }) do used[field] = isDay and num(key, field) or 0 end
  return used
end

-- Notes a call, which is the first prompt of a client in a run, and returns the time since the one before, or null.
local function noteCall(each, key)
  local field = each.client .. '|interval'
  if redis.call('HEXISTS', run, field) == 0 and each.floorRow == 0 then
    local last = get(key, 'lastCallAtMs')
    redis.call('HSET', run, field, last ~= '' and int(math.max(0, q.nowMs - tonumber(last))) or '')
    redis.call('HSET', key, 'lastCallAtMs', int(q.nowMs), 'intervalMs', get(run, field))
  end
  local interval = get(run, field)
  return interval == '' and 'null' or interval
end

-- The limit that one more row would break, as a Deferral, or nil.
local function brokenBy(each, used, row, interval)
  for _, rate in ipairs(rates) do
    local allowed = each.tier.limits[rate[1]]
    local measured = used[rate[2]] + (row[rate[3]] or 1)
    if allowed and measured > allowed then
      return '{"client":' .. cjson.encode(each.client) .. ',"tier":' .. cjson.encode(each.tier.name) .. ',"over":' .. cjson.encode(each.tier.over)
        .. ',"fromRow":' .. int(row[1]) .. ',"limit":"' .. rate[1] .. '","allowed":' .. int(allowed) .. ',"measured":' .. int(measured)
        .. ',"intervalMs":' .. interval .. ',"decidedAtMs":' .. int(q.nowMs) .. '}'
    end
  end
  return nil
end

-- Adds to the statistics of the day; of those that are kept the oldest goes.
local function noteDay(key, used, asked)
  local name, day = key .. ':days', int(math.floor(used.day / lengthOfDayMs))
  local sums = {}
  for number in string.gmatch(get(name, day), '%d+') do sums[#sums + 1] = tonumber(number) end
  redis.call('HSET', name, day, table.concat({
    int((sums[1] or 0) + asked.requests), int((sums[2] or 0) + asked.tokens), int(math.max(sums[3] or 0, used.minuteRequestsAsked)), int(math.max(sums[4] or 0, used.minuteTokensAsked)),
    int(math.max(sums[5] or 0, asked.context)), int((sums[6] or 0) + asked.requestsOver), int((sums[7] or 0) + asked.tokensOver) }, ' '))
  if redis.call('HLEN', name) <= daysKept then return end
  local oldest
  for _, each in ipairs(redis.call('HKEYS', name)) do if not oldest or tonumber(each) < oldest then oldest = tonumber(each) end end
  redis.call('HDEL', name, int(oldest))
end

local deferrals, isAny = {}, false
for _, each in ipairs(q.clients) do
  local key, decision = P .. 'client:' .. each.client, each.client .. '|deferral'
  if each.known then redis.call('HSETNX', run, decision, each.known) end
  local deferral = redis.call('HGET', run, decision)
  local fromRow = deferral and cjson.decode(deferral).fromRow
  local measured = math.max(num(run, each.client .. '|row'), each.floorRow)
  local last = each.rows[#each.rows]
  if last and last[1] > measured then
    redis.call('SADD', P .. 'clients', each.client)
    local used, interval = usedOf(key), noteCall(each, key)
    local asked = { requests = 0, tokens = 0, context = 0, requestsOver = 0, tokensOver = 0 }
    for _, row in ipairs(each.rows) do
      if row[1] > measured then
        if not fromRow and each.tier then
          deferral = brokenBy(each, used, row, interval)
          if deferral then fromRow = row[1] end
        end
        asked.requests, asked.tokens, asked.context = asked.requests + 1, asked.tokens + row[2], math.max(asked.context, row[3])
        if fromRow and row[1] >= fromRow then
          asked.requestsOver, asked.tokensOver = asked.requestsOver + 1, asked.tokensOver + row[2]
        else
          for _, rate in ipairs(rates) do used[rate[2]] = used[rate[2]] + (row[rate[3]] or 1) end
        end
      end
    end
    used.minuteRequestsAsked, used.minuteTokensAsked = used.minuteRequestsAsked + asked.requests, used.minuteTokensAsked + asked.tokens
    for field, value in pairs(used) do redis.call('HSET', key, field, int(value)) end
    redis.call('HSET', run, each.client .. '|row', int(last[1]))
    noteDay(key, used, asked)
    if deferral and redis.call('HSETNX', run, decision, deferral) == 1 then
      local told = cjson.decode(deferral)
      emit(q.run .. ':deferred:' .. each.client, 'client.deferred', q.run, q.nowMs,
        { run_key = q.run, client = each.client, tier = told.tier, over = told.over, from_row = fromRow, limit = told.limit, allowed = told.allowed, measured = told.measured })
    end
  end
  if deferral then deferrals[each.client], isAny = deferral, true end
end
if not isAny then return '{"deferrals":{}}' end
return reply({ deferrals = deferrals })
