-- Counts one more start of a worker. Sent twice it leaves a gap in the numbers, which means nothing.
-- request  {}
-- returns  {generation}
-- Atomic because two workers must not start as the same generation.
return reply({ generation = add(P .. 'standing', 'generation', 1) })
