-- Calibration: the share of its upper bound that a prompt of a topic and model is expected to consume, learned from
-- settled rows. A budget in estimate mode reserves that share.
--
-- calibration:<topic>|<model> counts rows by share, in whole percent of the bound: t1 … t100 of tokens, c1 … c100 of
-- cost. The share that is reserved is the 90th percentile of the rows, times 1.1, in thousandths, never more than the
-- bound: a quantile, because a mean would be passed half of the time. Fewer than 100 rows say nothing; the bound is
-- reserved then. Above 20,000 rows all counts are halved, so what a topic was like long ago is forgotten.

local calibrationRowsMin, calibrationRowsMax = 100, 20000

-- The quantile of one amount, in thousandths.
local function quantilePermille(counts, letter, rows)
  local below = 0
  for percent = 1, 100 do
    below = below + (counts[letter .. percent] or 0)
    if below * 10 >= rows * 9 then return math.min(1000, percent * 11) end
  end
  return 1000
end

-- Adds a sample: {model, rows, tokens: {percent: rows}, microUsd: {percent: rows}}.
local function learn(topic, sample)
  local key = P .. 'calibration:' .. topic .. '|' .. sample.model
  redis.call('SADD', P .. 'calibrations', topic .. '|' .. sample.model)
  for percent, rows in pairs(sample.tokens) do add(key, 't' .. percent, rows) end
  for percent, rows in pairs(sample.microUsd) do add(key, 'c' .. percent, rows) end
  local rows = add(key, 'rows', sample.rows)
  local counts = {}
  local fields = redis.call('HGETALL', key)
  for index = 1, #fields, 2 do counts[fields[index]] = tonumber(fields[index + 1]) end
  if rows > calibrationRowsMax then
    -- Sums of the halves, because odd counts lose a row each.
    local sums = { t = 0, c = 0 }
    for letter in pairs(sums) do
      for percent = 1, 100 do
        local count = counts[letter .. percent]
        if count then
          counts[letter .. percent] = math.floor((count + 1) / 2)
          redis.call('HSET', key, letter .. percent, int(counts[letter .. percent]))
          sums[letter] = sums[letter] + counts[letter .. percent]
        end
      end
    end
    rows = math.max(sums.t, sums.c)
    redis.call('HSET', key, 'rows', int(rows))
  end
  redis.call('HSET', key, 'tokensPermille', int(quantilePermille(counts, 't', rows)),
    'microUsdPermille', int(quantilePermille(counts, 'c', rows)))
end

-- Adds samples up as they come, by topic and model, so that many chunks of one kind are learned from at once.
local function gather(gathered, topic, sample)
  local name = topic .. '|' .. sample.model
  local sum = gathered[name] or { topic = topic, model = sample.model, rows = 0, tokens = {}, microUsd = {} }
  gathered[name] = sum
  sum.rows = sum.rows + sample.rows
  for _, unit in ipairs({ 'tokens', 'microUsd' }) do
    for percent, rows in pairs(sample[unit]) do sum[unit][percent] = (sum[unit][percent] or 0) + rows end
  end
end

-- The shares of its bounds that a chunk is expected to consume, in thousandths of tokens and of cost: of its dearest
-- model. A model of which too little is known takes the whole bound.
local function expectedShares(key)
  local models = get(key, 'models')
  models = models == '' and {} or cjson.decode(models)
  local tokens, microUsd = 0, 0
  for _, model in ipairs(models) do
    local of = P .. 'calibration:' .. topicOf(get(key, 'segment')) .. '|' .. model
    if num(of, 'rows') < calibrationRowsMin then return 1000, 1000 end
    tokens = math.max(tokens, num(of, 'tokensPermille'))
    microUsd = math.max(microUsd, num(of, 'microUsdPermille'))
  end
  if #models == 0 then return 1000, 1000 end
  return tokens, microUsd
end

-- A share of a bound, rounded up.
local function shareOf(bound, permille)
  return math.ceil(bound * permille / 1000)
end
