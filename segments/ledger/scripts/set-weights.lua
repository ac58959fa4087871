-- Sets how the clients share: in place of all weights that were set before.
-- request  {weights: {client: n}}
-- returns  {isSet}
-- Atomic because a client whose weight is just being replaced would be served as one of weight 1.
redis.call('DEL', P .. 'weights')
for client, weight in pairs(q.weights) do redis.call('HSET', P .. 'weights', client, int(weight)) end
return '{"isSet":true}'
