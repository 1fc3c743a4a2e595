-- Settles a request with its real cost. A request of yesterday changes nothing today.
-- KEYS: as in take.lua. ARGV: the day of the reservation, the reserved amount, the real cost.
local now = tonumber(redis.call('TIME')[1])
local day, spent = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d+)$')
if tonumber(day) ~= tonumber(ARGV[1]) then return now end
local value = math.min(math.max(tonumber(spent) - tonumber(ARGV[2]), 0) + tonumber(ARGV[3]), 9007199254740992)
redis.call('SET', KEYS[1], string.format('%.0f %.0f', tonumber(day), value), 'PX', string.format('%.0f', math.max(tonumber(day) * 86400 + 90000 - now, 1) * 1000))
return now
