-- Takes the claim of one request from all its caller's limits, or nothing.
-- KEYS: one for each limit, all of one slot.
-- ARGV: the lease's name, its microseconds, then for each key
--   "rate" cost tolerance   microseconds; the key holds a TAT (GCRA, see src/limits/gcra.rs)
--   "slots" most 0          the key holds the leases of concurrency permits, scored with their ends
-- Returns 1 or 0, the time, and the value of each key: a TAT, or how many leases there are.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local lease_time = tonumber(ARGV[2])
local value, pass = {}, 1
for i, key in ipairs(KEYS) do
  local a, b = tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
  if ARGV[3 * i] == 'rate' then
    value[i] = tonumber(redis.call('GET', key) or '0') or 0
    if math.max(value[i], now) + a - b > now then pass = 0 end
  else
    value[i] = redis.call('ZCOUNT', key, string.format('(%.0f', now), '+inf')
    if value[i] >= a then pass = 0 end
  end
end
if pass == 1 then
  for i, key in ipairs(KEYS) do
    if ARGV[3 * i] == 'rate' then
      value[i] = math.max(value[i], now) + tonumber(ARGV[3 * i + 1])
      local ttl = math.max(math.ceil((value[i] - now) / 1000), 1)
      redis.call('SET', key, string.format('%.0f', value[i]), 'PX', string.format('%.0f', ttl))
    else
      redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now))
      redis.call('ZADD', key, string.format('%.0f', now + lease_time), ARGV[1])
      redis.call('PEXPIRE', key, string.format('%.0f', lease_time / 1000))
      value[i] = value[i] + 1
    end
  end
end
return { pass, now, unpack(value) }
