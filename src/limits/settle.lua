-- Settles a completion at its end.
-- KEYS: as in acquire.lua, without those that do not change.
-- ARGV: the lease's name, the most that a TAT may be ahead, then for each key
--   "rate" back until ahead   microseconds: `Correction` of src/limits/gcra.rs
--   "slots" 0 0 0             the lease ends
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local most_debt = tonumber(ARGV[2])
for i, key in ipairs(KEYS) do
  if ARGV[4 * i - 1] == 'rate' then
    local back, until_, ahead = tonumber(ARGV[4 * i]), tonumber(ARGV[4 * i + 1]), tonumber(ARGV[4 * i + 2])
    local tat = tonumber(redis.call('GET', key) or '0') or 0
    tat = math.max(tat - math.min(back, math.max(until_ - now, 0)), 0)
    if ahead > 0 then
      tat = math.max(math.min(math.max(tat, now) + ahead, now + most_debt), tat)
    end
    if tat > now then
      redis.call('SET', key, string.format('%.0f', tat), 'PX', string.format('%.0f', math.ceil((tat - now) / 1000)))
    else
      redis.call('DEL', key)
    end
  else
    redis.call('ZREM', key, ARGV[1])
  end
end
return now
