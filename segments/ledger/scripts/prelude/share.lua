-- Fair shares between clients: self-clocked fair queueing (Golestani, A self-clocked fair queueing scheme for broadband
-- applications, INFOCOM 1994). What comes gets a tag, the smallest tag is served next, and the clock of a line stands at
-- the tag that was served last. A client that asks for little is never further behind than what it asks for, however much
-- others have in line; a client with twice the weight gets twice the tokens while both wait.
--
-- There is one line in front of the packers and one in front of the submitter, for each priority: both can be long.

-- The tag of something that a client puts into a line. One client's tags only grow, so its own order is kept.
local function shareTag(line, client, tokens)
  local key = P .. 'shares:' .. line
  local weight = math.max(num(P .. 'weights', client), 1)
  local tag = math.max(num(key, 'clock'), num(key, 'last:' .. client)) + math.max(1, math.ceil(tokens / weight))
  redis.call('HSET', key, 'last:' .. client, int(tag))
  return tag
end

-- Moves the clock of a line on. What was held and comes late has an old tag, which must not turn it back.
local function serveTag(line, tag)
  local key = P .. 'shares:' .. line
  if tag > num(key, 'clock') then redis.call('HSET', key, 'clock', int(tag)) end
end
