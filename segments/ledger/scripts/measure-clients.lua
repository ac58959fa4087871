-- Measures what clients hand in with a run, and finds the row from which on it is too much for the tier of each.
-- request  {run, clients: [{client, parts: [[first row, last row, prompts, tokens, context]], floorRow, tier?: {name, over, limits}, known?}], nowMs}
-- returns  {deferrals: {client: text}, split: [client]}: what is decided for each of them, as JSON text of a Deferral
--          (quota.ts), and those whose parts must come row by row, because one of them holds the row that divides it
-- Atomic because producers of one client share its minute and its day, and because the row must be decided once: two that
-- read the same run would put the same rows into different segments. A row is measured once, however often it is sent.
local lengthOfMinuteMs, lengthOfDayMs, daysKept = 60000, 86400000, 400
local run = P .. 'run:' .. q.run .. ':clients'
-- Name of a rate, the field that counts it, and what of a part it counts.
local rates = { { 'requestsPerDay', 'dayRequests', 3 }, { 'tokensPerDay', 'dayTokens', 4 }, { 'requestsPerMinute', 'minuteRequests', 3 }, { 'tokensPerMinute', 'minuteTokens', 4 } }
local fields = { 'minute', 'day', 'minuteRequests', 'minuteTokens', 'minuteRequestsAsked', 'minuteTokensAsked', 'dayRequests', 'dayTokens' }

-- What a client has used of the minute and the day. A call that comes late with an old time belongs to those that are there.
local function usedOf(key)
  local used = {}
  for index, value in ipairs(redis.call('HMGET', key, unpack(fields))) do used[fields[index]] = tonumber(value or 0) end
  local minute, day = q.nowMs - q.nowMs % lengthOfMinuteMs, q.nowMs - q.nowMs % lengthOfDayMs
  if minute > used.minute then used.minute, used.minuteRequests, used.minuteTokens, used.minuteRequestsAsked, used.minuteTokensAsked = minute, 0, 0, 0, 0 end
  if day > used.day then used.day, used.dayRequests, used.dayTokens = day, 0, 0 end
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

-- The rate that has no room for a part, and what it would have with it, or nil.
local function brokenBy(each, used, part)
  for _, rate in ipairs(rates) do
    local allowed, measured = each.tier.limits[rate[1]], used[rate[2]] + part[rate[3]]
    if allowed and measured > allowed then return rate[1], allowed, measured end
  end
  return nil
end

-- What a client hands in: nil, and "split" where a part has to come row by row, else what it comes to, and what is decided.
local function measure(each, used, measured, fromRow, interval)
  local asked = { requests = 0, tokens = 0, context = 0, requestsOver = 0, tokensOver = 0, lastRow = measured }
  local decided
  for _, part in ipairs(each.parts) do
    local first, last, prompts, tokens = part[1], part[2], part[3], part[4]
    if last > measured then
      if first < last and (first <= measured or (fromRow and first < fromRow and fromRow <= last)) then return nil, 'split' end
      if not fromRow and each.tier then
        local limit, allowed, found = brokenBy(each, used, part)
        if limit and first < last then return nil, 'split' end
        if limit then
          fromRow = first
          decided = '{"client":' .. cjson.encode(each.client) .. ',"tier":' .. cjson.encode(each.tier.name) .. ',"over":' .. cjson.encode(each.tier.over)
            .. ',"fromRow":' .. int(first) .. ',"limit":"' .. limit .. '","allowed":' .. int(allowed) .. ',"measured":' .. int(found)
            .. ',"intervalMs":' .. interval .. ',"decidedAtMs":' .. int(q.nowMs) .. '}'
        end
      end
      asked.requests, asked.tokens, asked.context, asked.lastRow = asked.requests + prompts, asked.tokens + tokens, math.max(asked.context, part[5]), last
      if fromRow and first >= fromRow then
        asked.requestsOver, asked.tokensOver = asked.requestsOver + prompts, asked.tokensOver + tokens
      else
        for _, rate in ipairs(rates) do used[rate[2]] = used[rate[2]] + part[rate[3]] end
      end
    end
  end
  return asked, decided
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

-- Writes down what a client has handed in.
local function book(each, key, used, asked)
  redis.call('SADD', P .. 'clients', each.client)
  used.minuteRequestsAsked, used.minuteTokensAsked = used.minuteRequestsAsked + asked.requests, used.minuteTokensAsked + asked.tokens
  local values = {}
  for _, field in ipairs(fields) do values[#values + 1], values[#values + 2] = field, int(used[field]) end
  redis.call('HSET', key, unpack(values))
  redis.call('HSET', run, each.client .. '|row', int(asked.lastRow))
  noteDay(key, used, asked)
end

local deferrals, split = {}, {}
for _, each in ipairs(q.clients) do
  local key, decision = P .. 'client:' .. each.client, each.client .. '|deferral'
  if each.known then redis.call('HSETNX', run, decision, each.known) end
  local deferral = redis.call('HGET', run, decision)
  local measured = math.max(num(run, each.client .. '|row'), each.floorRow)
  local last = each.parts[#each.parts]
  if last and last[2] > measured then
    local used = usedOf(key)
    local asked, decided = measure(each, used, measured, deferral and cjson.decode(deferral).fromRow, noteCall(each, key))
    if asked then
      book(each, key, used, asked)
      if decided then
        deferral = decided
        redis.call('HSET', run, decision, decided)
        local told = cjson.decode(decided)
        emit(q.run .. ':deferred:' .. each.client, 'client.deferred', q.run, q.nowMs,
          { run_key = q.run, client = each.client, tier = told.tier, over = told.over, from_row = told.fromRow, limit = told.limit, allowed = told.allowed, measured = told.measured })
      end
    else
      split[#split + 1] = each.client
    end
  end
  if deferral then deferrals[#deferrals + 1] = cjson.encode(each.client) .. ':' .. cjson.encode(deferral) end
end
return '{"deferrals":{' .. table.concat(deferrals, ',') .. '},"split":' .. list(split) .. '}'
