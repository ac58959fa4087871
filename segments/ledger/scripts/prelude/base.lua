-- What every script of the ledger begins with. It is put before the script's own text when the scripts are loaded,
-- together with MOVES, the table of allowed moves made from lifecycle.ts.
--
-- KEYS[1]  the prefix of all keys, for example "{plimsoll}:". Every key that a script touches begins with it, so all
--          of them live in one slot of a cluster.
-- ARGV[1]  the request as JSON. Times are Unix ms and come from the caller: a script never asks the clock.
-- A script returns JSON; where the gate is shut (standing.lua) that is {kind: "behind", reason}. Amounts stay below 2^53, where Lua's numbers are exact.

local P = KEYS[1]
local q = cjson.decode(ARGV[1])

local function get(key, field)
  local value = redis.call('HGET', key, field)
  if not value then return '' end
  return value
end

local function num(key, field)
  return tonumber(get(key, field)) or 0
end

local function add(key, field, by)
  return redis.call('HINCRBY', key, field, string.format('%.0f', by))
end

local function int(value)
  return string.format('%.0f', value)
end

local function reply(value)
  return cjson.encode(value)
end

-- JSON text of a list; an empty Lua table would be taken for an object.
local function list(values)
  if #values == 0 then return '[]' end
  return cjson.encode(values)
end

-- The names of a table, sorted: the order of a Lua table may differ when the script is sent again.
local function namesOf(sums)
  local names = {}
  for name in pairs(sums) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- The state that an event leads to, or nil when lifecycle.ts does not allow the move (L1).
local function target(noun, key, event)
  local moves = MOVES[noun][get(key, 'state')]
  return moves and moves[event]
end

-- Makes a move. A move that is not allowed is a defect: the whole script is undone by failing before anything is written,
-- so callers ask target() first wherever the state may have moved on.
local function change(noun, key, event, reason)
  local to = target(noun, key, event)
  if not to then
    error('illegal move of ' .. noun .. ' ' .. key .. ': ' .. event .. ' from ' .. get(key, 'state'))
  end
  redis.call('HSET', key, 'state', to, 'reason', reason or '')
  return to
end

local function due(stage, entity, at)
  redis.call('ZADD', P .. 'due:' .. stage, int(at), entity)
end

local function undue(stage, entity)
  redis.call('ZREM', P .. 'due:' .. stage, entity)
  redis.call('HDEL', P .. 'claims', stage .. '|' .. entity)
  redis.call('HDEL', P .. 'epochs', stage .. '|' .. entity)
end

-- Writes an event into the outbox; numbered without gaps, so a consumer sees when one is missing. `data` is a table, or
-- JSON text that the caller has made: cjson would turn its empty lists into objects and round its long numbers.
local function emit(id, kind, subject, at, data)
  local sequence = redis.call('INCR', P .. 'events:sequence')
  redis.call('XADD', P .. 'events', sequence .. '-0', 'id', id, 'type', kind, 'subject', subject, 'time', int(at),
    'data', type(data) == 'string' and data or cjson.encode(data))
end
