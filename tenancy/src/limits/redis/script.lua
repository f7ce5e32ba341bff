-- Takes ARGV[1] units of every limit, or of none. KEYS: the limits of one call, all of one slot. ARGV: the units, then
-- of each limit the microseconds in which one unit comes back, and the burst. A key holds when its limit is full
-- again, in microseconds since 1970 by this server's clock, and goes when it is. Answers what each limit owed before.
-- All numbers are below 2^53, so doubles count them exactly.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local cost = tonumber(ARGV[1])
local stored = redis.call('MGET', unpack(KEYS))
local owed, room = {}, true
for i = 1, #KEYS do
  local interval, burst = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  -- More than all is owed only when the clock was set back.
  owed[i] = math.min(math.max((tonumber(stored[i] or now)) - now, 0), interval * burst)
  room = room and owed[i] + interval * cost <= interval * burst
end
if room and cost > 0 then
  for i = 1, #KEYS do
    local after = owed[i] + ARGV[2 * i] * cost
    redis.call('SET', KEYS[i], string.format('%.0f', now + after), 'PX', string.format('%.0f', math.ceil(after / 1000)))
  end
end
return owed
