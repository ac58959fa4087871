-- Sides. A run is answered by one side only: by the provider (`real`) or by the simulator of the home (`simulated`). Its field
-- `side` says by which, from its opening or from the first intent of one of its archives on, and is never changed then; before
-- that it is empty.

-- The side of an archive's run.
local function sideOf(archive)
  return get(P .. 'run:' .. get(P .. 'archive:' .. archive, 'run'), 'side')
end

-- True when both are decided and differ: what belongs to one of them is nothing to the other.
local function areApart(side, other)
  return side ~= '' and other ~= '' and side ~= other
end
