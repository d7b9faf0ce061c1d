-- The budget ledger in Redis: every operation is one run of this script, so it is atomic.
-- KEYS[1] is the prefix of all keys; ARGV[1] names the operation, ARGV[2] holds its JSON argument.
-- Amounts are whole micros below 2^53; they are written by HINCRBY or "%.0f", never as floats.
local prefix, operation, given = KEYS[1], ARGV[1], cjson.decode(ARGV[2])
local BUDGET, SPENT, HELD = prefix .. ':budget', prefix .. ':spent', prefix .. ':held'
local LEASES, CHARGES, EXPOSURES = prefix .. ':leases', prefix .. ':charges', prefix .. ':exposures'
local ANSWERS = prefix .. ':answers'
local CHARGED_AT, TALLIES, CURSOR = prefix .. ':charged_at', prefix .. ':tallies', prefix .. ':cursor'

local function whole(number) return string.format('%.0f', number + 0) end -- never '-0'
local function get(key, field) return tonumber(redis.call('HGET', key, field) or '0') end
local function add(key, field, more) redis.call('HINCRBY', key, field, whole(more)) end
local function lease_key(id) return prefix .. ':lease:' .. id end
local function free(campaign)
  return get(BUDGET, campaign) - get(SPENT, campaign) - get(HELD, campaign)
end
local function count(campaign, at, column, more)
  add(TALLIES, cjson.encode({campaign, whole(math.floor(at / 3600)), column}), more)
end
local function record(event_id, exposure, verdict, at)
  redis.call('HSET', CHARGES, event_id, verdict)
  if verdict == 'billed' then redis.call('HSET', EXPOSURES, exposure, event_id) end
  redis.call('ZADD', CHARGED_AT, at, cjson.encode({event_id, exposure}))
end

local function pool_key(campaign) return prefix .. ':pool:' .. campaign end
-- notes when a pooled lease lets go of what is left of it
local function await(id, last, window)
  redis.call('ZADD', ANSWERS, string.format('%.17g', last + given.answered * window), id)
end
local function remaining(id)
  return get(lease_key(id), 'reserve') - get(lease_key(id), 'charged')
end

local function fund()
  for campaign, budget in pairs(given.budgets) do
    redis.call('HSET', BUDGET, campaign, whole(budget))
  end
end

local function lease()
  local granted = {}
  for place, wanted in ipairs(given.requests) do
    local amount = math.min(wanted.amount, free(wanted.campaign))
    if amount >= math.max(wanted.least, 1) then
      local id = whole(redis.call('INCR', prefix .. ':last_lease'))
      local ends = wanted['until'] + wanted.window
      redis.call('HSET', lease_key(id), 'campaign', wanted.campaign, 'holder', given.holder,
        'reserve', whole(amount), 'charged', '0', 'expected', '0', 'settled', '0',
        'pooled', wanted.pooled and '1' or '0', 'until', string.format('%.17g', wanted['until']),
        'window', string.format('%.17g', wanted.window))
      redis.call('ZADD', LEASES, string.format('%.17g', ends), id)
      if wanted.pooled then await(id, wanted['until'], wanted.window) end
      add(HELD, wanted.campaign, amount)
      granted[#granted + 1] = {place, id, whole(amount)}
    end
  end
  return cjson.encode(granted)
end

local function report()
  for _, usage in ipairs(given.usages) do
    local key = lease_key(usage.lease_id)
    if redis.call('HGET', key, 'settled') == '0' then
      redis.call('HSET', key, 'expected', whole(usage.expected))
      if usage.done then
        local reserve, charged = get(key, 'reserve'), get(key, 'charged')
        local kept = math.min(math.max(usage.used, charged), reserve)
        local last = math.min(get(key, 'until'), usage.last_used_at)
        redis.call('HSET', key, 'reserve', whole(kept), 'settled', '1',
          'until', string.format('%.17g', last))
        redis.call('ZADD', LEASES, string.format('%.17g', last + get(key, 'window')), usage.lease_id)
        if redis.call('HGET', key, 'pooled') == '1' then
          await(usage.lease_id, last, get(key, 'window'))
          if kept > charged then
            redis.call('ZADD', pool_key(redis.call('HGET', key, 'campaign')),
              string.format('%.17g', last), usage.lease_id)
          end
        end
        add(HELD, redis.call('HGET', key, 'campaign'), kept - reserve)
      end
    end
  end
end

local function buy_day()
  if redis.call('HEXISTS', CHARGES, given.event_id) == 1 then return 1 end
  if not redis.call('HGET', BUDGET, given.campaign) or free(given.campaign) < given.price then
    return 0
  end
  add(SPENT, given.campaign, given.price)
  count(given.campaign, given.at, 'spent', given.price)
  record(given.event_id, given.event_id, 'billed', given.at)
  return 1
end

-- the verdict, and what is drawn from which leases; the rest is taken from what is free
local function judge(event)
  if redis.call('HEXISTS', EXPOSURES, event.exposure) == 1 then return 'repeated', {} end
  local key = lease_key(event.lease_id)
  if event.late or redis.call('HGET', key, 'campaign') ~= event.campaign then return 'late', {} end
  local draws = {{event.lease_id, math.min(event.price, remaining(event.lease_id))}}
  local rest = event.price - draws[1][2]
  if rest > 0 and redis.call('HGET', key, 'pooled') == '1' then
    for _, id in ipairs(redis.call('ZRANGE', pool_key(event.campaign), 0, -1)) do
      if id ~= event.lease_id then
        local drawn = math.min(rest, remaining(id))
        draws[#draws + 1] = {id, drawn}
        rest = rest - drawn
        if rest == 0 then break end
      end
    end
  end
  if rest > math.max(free(event.campaign), 0) then return 'unfunded', {} end
  return 'billed', draws
end

local function charge(event)
  if event.price == cjson.null or event.price == nil then return 'free' end
  local verdict, draws = judge(event)
  if verdict == 'billed' then
    add(SPENT, event.campaign, event.price)
    for _, draw in ipairs(draws) do
      add(lease_key(draw[1]), 'charged', draw[2])
      add(HELD, event.campaign, -draw[2])
      if remaining(draw[1]) == 0 then redis.call('ZREM', pool_key(event.campaign), draw[1]) end
    end
    count(event.campaign, event.at, 'spent', event.price)
  elseif verdict ~= 'repeated' then
    count(event.campaign, event.at, 'unbilled', 1)
  end
  record(event.event_id, event.exposure, verdict, event.at)
  return verdict
end

local function book()
  local verdicts = {}
  if (redis.call('GET', CURSOR) or '') ~= given.after then return '[]' end
  for _, event in ipairs(given.events) do
    local known = redis.call('HGET', CHARGES, event.event_id)
    if known then
      verdicts[#verdicts + 1] = known
    else
      count(event.campaign, event.at, event.column, 1)
      if event.activity == 'sale' then
        count(event.campaign, event.at, 'sales_value', event.value)
      end
      verdicts[#verdicts + 1] = charge(event)
    end
  end
  redis.call('SET', CURSOR, given.cursor)
  return cjson.encode(verdicts)
end

local function close()
  local now = string.format('%.17g', given.now)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', ANSWERS, '-inf', '(' .. now)) do
    local key = lease_key(id)
    local campaign = redis.call('HGET', key, 'campaign')
    if campaign then
      add(HELD, campaign, -remaining(id))
      redis.call('HSET', key, 'reserve', redis.call('HGET', key, 'charged'))
      redis.call('ZREM', pool_key(campaign), id)
    end
    redis.call('ZREM', ANSWERS, id)
  end
  local ended = redis.call('ZRANGEBYSCORE', LEASES, '-inf', '(' .. now)
  for _, id in ipairs(ended) do
    local campaign = redis.call('HGET', lease_key(id), 'campaign')
    add(HELD, campaign, -remaining(id))
    redis.call('ZREM', pool_key(campaign), id)
    redis.call('ZREM', ANSWERS, id)
    redis.call('ZREM', LEASES, id)
    redis.call('DEL', lease_key(id))
  end
  local forgotten = redis.call('ZRANGEBYSCORE', CHARGED_AT, '-inf',
    '(' .. string.format('%.17g', given.forget_before), 'LIMIT', 0, 1000)
  for _, packed in ipairs(forgotten) do
    local pair = cjson.decode(packed)
    redis.call('HDEL', CHARGES, pair[1])
    if redis.call('HGET', EXPOSURES, pair[2]) == pair[1] then redis.call('HDEL', EXPOSURES, pair[2]) end
    redis.call('ZREM', CHARGED_AT, packed)
  end
  return #ended
end

local function balances()
  local expected, answer = {}, {}
  for _, id in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
    local key = lease_key(id)
    local campaign = redis.call('HGET', key, 'campaign')
    local still = get(key, 'expected')
    if redis.call('HGET', key, 'settled') == '1' then
      local age = math.max(given.now - get(key, 'until'), 0)
      still = still * math.max(1 - age / (given.answered * get(key, 'window')), 0)
    end
    expected[campaign] = (expected[campaign] or 0) + still
  end
  for _, campaign in ipairs(redis.call('HKEYS', BUDGET)) do
    answer[#answer + 1] = {campaign, whole(get(BUDGET, campaign)), whole(get(SPENT, campaign)),
      whole(get(HELD, campaign)), whole(math.floor(expected[campaign] or 0))}
  end
  return cjson.encode(answer)
end

local operations = {fund = fund, lease = lease, report = report, buy_day = buy_day, book = book,
  close = close, balances = balances}
return operations[operation]()
