-- Reserves the estimated cost of one request from its caller's budget of the day.
-- KEYS: what the caller has spent: "DAY NANODOLLARS", days since the epoch.
-- ARGV: the budget, the estimate, and the estimate for the cheapest model; -1 = the request is refused if it exceeds the budget.
-- Returns 1 (within), 2 (the cheapest model) or 0 (refused), the time in seconds, and the day on which the request is counted.
local now = tonumber(redis.call('TIME')[1])
local today = math.floor(now / 86400)
local day, spent = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d+)$')
-- the day of a caller never goes back, if the clock was set back over midnight
if tonumber(day) == today + 1 then today = today + 1 end
spent = tonumber(day) == today and tonumber(spent) or 0
local verdict, take = 1, tonumber(ARGV[2])
if spent + take > tonumber(ARGV[1]) then
  verdict, take = 2, tonumber(ARGV[3])
  if take < 0 then return { 0, now, today } end
end
local value = string.format('%.0f %.0f', today, math.min(spent + take, 9007199254740992))
-- an hour longer than the day, for requests that are settled after midnight
redis.call('SET', KEYS[1], value, 'PX', string.format('%.0f', (today * 86400 + 90000 - now) * 1000))
return { verdict, now, today }
