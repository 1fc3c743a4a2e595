-- Renews the lease of an open stream; a lease that was lost with a server's data is set again.
-- KEYS: sets of leases. ARGV: the lease's name, its microseconds.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local lease_time = tonumber(ARGV[2])
for _, key in ipairs(KEYS) do
  redis.call('ZADD', key, string.format('%.0f', now + lease_time), ARGV[1])
  redis.call('PEXPIRE', key, string.format('%.0f', lease_time / 1000))
end
return now
