-- Accounts: the windows they belong to, the room they have, and what is told of them.

local spans = { s = 1000, m = 60000, h = 3600000, d = 86400000 }

-- The calendar windows that some budget has and the request does not name, as the whole reply of the script; nil: none.
-- Where they begin depends on time zones, which are not known here: the caller works it out and asks again. A script that
-- looks at accounts asks this before it touches anything.
local function unknownWindows()
  local unknown = {}
  for _, name in ipairs(redis.call('SMEMBERS', P .. 'calendars')) do
    if not (q.windows and q.windows[name]) then unknown[#unknown + 1] = name end
  end
  if #unknown == 0 then return nil end
  return '{"unknownWindows":' .. cjson.encode(unknown) .. '}'
end

-- The window that an instant falls into. Spans are aligned to the Unix epoch, in UTC.
local function windowOf(window, run, at)
  if window == 'run' then return 'run=' .. run end
  if string.find(window, '|', 1, true) then return window .. '=' .. int(q.windows[window]) end
  local count, unit = string.match(window, '^(%d+)([smhd])$')
  if not count then return 'total' end
  local span = tonumber(count) * spans[unit]
  return window .. '=' .. int(at - at % span)
end

-- The accounts that a reservation of this chunk must pass, each with the limits of its budget (nil: none).
-- The total of each target is always kept, whatever window its budget has and whether it has one: a limit that is set later
-- for all time counts all time.
local function accountsOf(segment, client, run, at)
  local ofClient = 'client:' .. client
  local targets = { 'all', ofClient, 'topic:' .. topicOf(segment), 'segment:' .. segment }
  local accounts = {}
  for _, name in ipairs(targets) do
    -- What a budget does not have is `false`; `tonumber` makes nil of that only by way of ''.
    local budget = redis.call('HMGET', P .. 'budget:' .. name, 'window', 'tokens', 'microUsd', 'runtimeMs', 'onLate', 'mode')
    local window = budget[1] or ''
    local account = { target = name, name = name .. '@' .. windowOf(window, run, at), window = window }
    account.isOfClient = name == ofClient
    account.tokens = tonumber(budget[2] or '')
    account.microUsd = tonumber(budget[3] or '')
    account.runtimeMs = tonumber(budget[4] or '')
    account.onLate = budget[5] or ''
    account.isEstimate = budget[6] == 'estimate'
    local total = name .. '@total'
    if account.name ~= total then accounts[#accounts + 1] = { target = name, name = total } end
    accounts[#accounts + 1] = account
  end
  return accounts
end

-- What a chunk reserves in an account: its bounds, or, in estimate mode, the shares of them that it is expected to take.
local function sharesIn(account, key)
  if account.isEstimate then return expectedShares(key) end
  return 1000, 1000
end

-- A list of names that a chunk's record keeps; `accounts`: where it stands since its admission, `joined`: where it was put
-- by budgets that were set later.
local function namesIn(key, field)
  local names = get(key, field)
  return names ~= '' and cjson.decode(names) or {}
end

-- What accounts have to have reserved for a chunk that is packed: its bounds, or, where its record names them, what was
-- estimated on its admission. A function of an account's name, so that the record is read once for all of them.
local function reservationOf(key)
  local tokens, microUsd = num(key, 'tokensMax'), num(key, 'microUsdMax')
  local tokensEstimated, microUsdEstimated = num(key, 'tokensEstimated'), num(key, 'microUsdEstimated')
  local isEstimated = {}
  for _, name in ipairs(namesIn(key, 'estimated')) do isEstimated[name] = true end
  return function(name)
    if isEstimated[name] then return tokensEstimated, microUsdEstimated end
    return tokens, microUsd
  end
end

local usageClasses = { 'inputTokens', 'outputTokens', 'cacheReadInputTokens', 'cacheWriteInputTokens', 'cacheWrite1hInputTokens' }

-- Books what was billed into an account.
local function bookSpent(account, usage, microUsd, overBound)
  add(account, 'tokensSpent', usage.inputTokens + usage.outputTokens + usage.cacheReadInputTokens + usage.cacheWriteInputTokens)
  add(account, 'microUsdSpent', microUsd)
  add(account, 'overBound', overBound)
  for _, class in ipairs(usageClasses) do add(account, class, usage[class]) end
end

-- What a chunk was billed, as its record keeps it: the usage classes in their order, micro-USD, rows over their bound.
local function spentText(usage, microUsd, overBound)
  local amounts = {}
  for index, class in ipairs(usageClasses) do amounts[index] = int(usage[class]) end
  return table.concat(amounts, ' ') .. ' ' .. int(microUsd) .. ' ' .. int(overBound)
end

-- Books it into an account.
local function bookSpentText(account, text)
  local amounts, usage = {}, {}
  for amount in string.gmatch(text, '%d+') do amounts[#amounts + 1] = tonumber(amount) end
  for index, class in ipairs(usageClasses) do usage[class] = amounts[index] end
  bookSpent(account, usage, amounts[#usageClasses + 1], amounts[#usageClasses + 2])
end

-- Room of an account for tokens and for money; nil where it has no limit.
local function roomOf(account)
  local key = P .. 'account:' .. account.name
  local tokens, microUsd
  if account.tokens then tokens = account.tokens - num(key, 'tokensReserved') - num(key, 'tokensSpent') end
  if account.microUsd then microUsd = account.microUsd - num(key, 'microUsdReserved') - num(key, 'microUsdSpent') end
  return tokens, microUsd
end

-- Tells of one limit of an account that it is nearly spent ("warning"), has no room left ("exceeded"), or that more than
-- all of it was billed ("overrun"): once for each limit, so that raising it lets the same be told again.
local function tellBudget(account, targetName, unit, level, limit, at)
  local key = P .. 'account:' .. account
  if get(key, level .. ':' .. unit) == int(limit) then return end
  redis.call('HSET', key, level .. ':' .. unit, int(limit))
  emit('budget:' .. account .. ':' .. unit .. ':' .. level .. ':' .. int(limit), 'budget.' .. level, targetName, at,
    { target = targetName, account = account, unit = unit == 'tokens' and 'tokens' or 'micro_usd', limit = limit,
      spent = num(key, unit .. 'Spent'), reserved = num(key, unit .. 'Reserved') })
end

-- Tells whether four fifths of an account's limits are spent, or more than all of them. The account of another window
-- than the budget has now is not judged.
local function tellSpending(account, at)
  local targetName, window = string.match(account, '^(.*)@([^@]*)$')
  local budget = P .. 'budget:' .. targetName
  if get(budget, 'window') ~= string.match(window, '^[^=]*') then return end
  for _, unit in ipairs({ 'tokens', 'microUsd' }) do
    local limit, spent = tonumber(get(budget, unit)), num(P .. 'account:' .. account, unit .. 'Spent')
    if limit and limit > 0 then
      if spent * 5 >= limit * 4 then tellBudget(account, targetName, unit, 'warning', limit, at) end
      if spent > limit then
        tellBudget(account, targetName, unit, 'exceeded', limit, at)
        tellBudget(account, targetName, unit, 'overrun', limit, at)
      end
    end
  end
end
