// SPDX-License-Identifier: Apache-2.0
/**
 * The Lua script that decides about one account's streams inside Redis or Valkey (EVALSHA), in one step.
 *
 * It takes the steps of `#adapters/memory/account-usage.ts`; the contract suite and a model test hold both to the same answers.
 * One key per account, whose hash tag is the account, so it runs on Redis Cluster. The record is MessagePack because the
 * sandbox's JSON writes numbers with 14 digits, and microseconds have 16; numbers leave as text for the same reason.
 * Invariant: the script reads no clock and no randomness; `now` comes with the call.
 */

/** KEYS[1]: the account's record. ARGV[1]: operation as JSON. Answers JSON. */
export const USAGE_SCRIPT = `
local REMEMBERED, RELOAD_GRACE, LONGEST_WAIT = 8, 60000000, 86400000000
local call = cjson.decode(ARGV[1])
local now, most = call.now, call.most
if call.rightUntil then call.heartbeat.rightUntil = call.rightUntil end
local packed = redis.call('GET', KEYS[1])
local usage = packed and cmsgpack.unpack(packed) or { streams = {}, order = 1 }
local streams = usage.streams
local touched = {}

local function text(n) return string.format('%.0f', n) end
local function has(list, item) for _, each in ipairs(list) do if each == item then return true end end return false end
local function push(list, item) list[#list + 1] = item; if #list > REMEMBERED then table.remove(list, 1) end end
local function counted(s) return s.exp > now and not s.flag and s.replaced == 0 end
local function older(a, b) if a.started ~= b.started then return a.started < b.started end return a.order < b.order end
local function running()
  local list = {}
  for _, s in pairs(streams) do if counted(s) then list[#list + 1] = s end end
  table.sort(list, older)
  return list
end
local function inScope(s, limit)
  if limit.scope == 'account' then return true end
  if limit.scope == 'title' then return s.asset == limit.key end
  return s.coll == limit.key
end
local function within(list, limit)
  local found = {}
  for _, s in ipairs(list) do if inScope(s, limit) then found[#found + 1] = s end end
  return found
end
local function without(list, gone)
  local found = {}
  for _, s in ipairs(list) do if not gone[s.sid] then found[#found + 1] = s end end
  return found
end

for sid, s in pairs(streams) do if s.keep <= now then streams[sid] = nil; touched[sid] = s end end
if usage.bucket and usage.bucket.full <= now then usage.bucket = nil end

local function draw(b)
  local held = usage.bucket or { tokens = b.capacity, at = now }
  local at = math.max(held.at, now)
  local tokens = math.min(b.capacity, held.tokens + (at - held.at) * b.refill)
  local wait = 0
  if b.cost > tokens then
    wait = LONGEST_WAIT
    if b.cost <= b.capacity then wait = math.min(LONGEST_WAIT, math.ceil((b.cost - tokens) / b.refill)) end
  end
  if wait == 0 then tokens = tokens - b.cost end
  return { tokens = tokens, at = at, full = at + math.ceil((b.capacity - tokens) / b.refill) }, wait
end

local function keepOf(h)
  local last = math.max(h.expiresAt, h.rightUntil or 0)
  return last + math.max(0, last - h.at)
end
local function makeRoom()
  local list = {}
  for _, s in pairs(streams) do list[#list + 1] = s end
  if #list < most then return end
  table.sort(list, function(a, b)
    local ca, cb = counted(a), counted(b)
    if ca ~= cb then return cb end
    if a.keep ~= b.keep then return a.keep < b.keep end
    return a.order < b.order
  end)
  for i = 1, #list - most + 1 do streams[list[i].sid] = nil; touched[list[i].sid] = list[i] end
end
local function add(h, level)
  makeRoom()
  local s = { sid = h.session, device = h.device, asset = h.asset, name = '', level = level, started = h.at, order = usage.order,
    at = h.at, exp = h.expiresAt, limits = {}, mode = 'detection-only', replaced = 0, keep = keepOf(h), shown = 0, before = 0, given = {}, strays = {}, requests = {} }
  usage.order = usage.order + 1
  streams[h.session] = s
  return s
end
local function beat(s, h, level)
  if h.at < s.at then return end
  s.at, s.exp, s.level = h.at, h.expiresAt, level
  s.keep = math.max(s.keep, keepOf(h))
end
local function follow(s, issued, following)
  if issued == s.shown then push(s.given, following)
  elseif issued == s.before then push(s.strays, following)
  else
    local newest = s.shown
    for _, each in ipairs(s.given) do newest = math.max(newest, each) end
    if not has(s.given, issued) and (has(s.strays, issued) or issued <= newest) then return false end
    s.before, s.shown, s.given = s.shown, issued, { following }
  end
  return true
end
local function save()
  local last = usage.bucket and usage.bucket.full or 0
  for _, s in pairs(streams) do last = math.max(last, s.keep) end
  if last <= now then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], cmsgpack.pack(usage), 'PX', text(math.ceil((last - now) / 1000) + 1000)) end
end
local function sids(list)
  local found = {}
  for _, s in ipairs(list) do found[#found + 1] = s.sid end
  return found
end
local function describe(s)
  return { session = s.sid, device = s.device, asset = s.asset, collection = s.coll, deviceName = s.name, level = s.level, at = text(s.at), expiresAt = text(s.exp), startedAt = text(s.started) }
end
local function describeAll(list)
  local found = {}
  for _, s in ipairs(list) do found[#found + 1] = describe(s) end
  return found
end

local ops = {}

function ops.admit()
  local h, limits, mode = call.heartbeat, call.limits, call.mode
  local known = streams[h.session]
  if known and known.flag then return { granted = false, because = 'ended', flag = known.flag } end
  local gone, ended, replaced, rest = {}, {}, {}, {}
  for _, s in ipairs(running()) do
    if s.sid ~= h.session then
      if has(call.ends, s.sid) then ended[#ended + 1] = s
      elseif s.device == h.device and s.asset == h.asset then replaced[#replaced + 1] = s
      else rest[#rest + 1] = s end
    end
  end
  local worst, worstOver, none = nil, 0, false
  for _, limit in ipairs(limits) do
    local over = #within(rest, limit) + 1 - limit.limit
    if over > worstOver then worst, worstOver = limit, over end
    if limit.limit < 1 then none = true end
  end
  if worst and (mode == 'deny-new' or (mode == 'terminate-oldest' and none)) then
    return { granted = false, because = 'limit', limit = worst, conflicts = describeAll(within(rest, worst)) }
  end
  if call.bucket and not (known and known.started == now) then
    local drawn, wait = draw(call.bucket)
    if wait > 0 then return { granted = false, because = 'bucket', retryAfter = text(wait) } end
    usage.bucket = drawn
  end
  local going = {}
  if mode == 'terminate-oldest' then
    for _, scope in ipairs({ 'title', 'collection', 'account' }) do
      for _, limit in ipairs(limits) do
        if limit.scope == scope then
          local there = within(without(rest, gone), limit)
          for i = 1, math.max(0, #there + 1 - limit.limit) do gone[there[i].sid] = true; going[#going + 1] = there[i] end
        end
      end
    end
    table.sort(going, older)
  end
  for _, s in ipairs(going) do s.flag = { reason = 'concurrency', by = h.session }; touched[s.sid] = s end
  for _, s in ipairs(ended) do s.flag = { reason = 'replaced', by = h.session }; touched[s.sid] = s end
  for _, s in ipairs(replaced) do s.replaced = now; touched[s.sid] = s end
  local s = known or add(h, call.level)
  beat(s, h, call.level)
  s.device, s.asset, s.name, s.coll, s.limits, s.mode, s.replaced = h.device, h.asset, call.deviceName, call.collection, limits, mode, 0
  touched[s.sid] = s
  push(s.given, now)
  local counts, after = {}, running()
  for i, limit in ipairs(limits) do counts[i] = #within(after, limit) end
  save()
  return { granted = true, flagged = sids(going), ended = sids(ended), over = worst ~= nil and mode == 'detection-only', counts = counts }
end

function ops.renew()
  local h = call.heartbeat
  local known = streams[h.session]
  if known and known.flag then return { kind = 'flagged', flag = known.flag } end
  local function answered(at, duplicate, wait)
    return { kind = 'counted', at = text(at), duplicate = duplicate, bucket = wait > 0 and 'short' or 'ok', retryAfter = wait > 0 and text(wait) or nil, count = #running() }
  end
  if known then
    for _, each in ipairs(known.requests) do if each.request == call.request then return answered(each.at, true, each.wait) end end
  end
  local lateOfReload = known and known.replaced > 0 and now - known.replaced < RELOAD_GRACE
  if known and not counted(known) and not lateOfReload and known.mode ~= 'detection-only' then
    local others = without(running(), { [h.session] = true })
    for _, limit in ipairs(known.limits) do
      if #within(others, limit) >= limit.limit then return { kind = 'readmit', because = 'limit' } end
    end
  end
  local s = known or add(h, call.level)
  if not follow(s, call.issued, now) then return { kind = 'readmit', because = 'clone' } end
  local wait = 0
  if call.bucket then usage.bucket, wait = draw(call.bucket) end
  beat(s, h, call.level)
  if not lateOfReload then s.replaced = 0 end
  touched[s.sid] = s
  push(s.requests, { request = call.request, at = now, wait = wait })
  save()
  return answered(now, false, wait)
end

function ops.stop()
  local s = streams[call.session]
  if not s then return { changed = false } end
  local was = counted(s)
  if not s.flag then s.flag = { reason = 'viewer' } end
  touched[s.sid] = s
  save()
  return { changed = was }
end

function ops.flag()
  local s = streams[call.session]
  if s and s.flag then return { changed = false } end
  s = s or add({ session = call.session, device = '', asset = '', at = now, expiresAt = now }, 1)
  s.flag, s.keep = call.flag, math.max(s.keep, call['until'])
  touched[s.sid] = s
  save()
  return { changed = true }
end

function ops.unflag()
  local s = streams[call.session]
  if not s or not s.flag then return { changed = false } end
  s.flag = nil
  touched[s.sid] = s
  save()
  return { changed = true }
end

function ops.writeBack()
  for _, h in ipairs(call.heartbeats) do
    if h.expiresAt > now then
      local s = streams[h.session] or add(h, h.level)
      if not s.flag then
        if h.at > s.replaced then s.replaced = 0 end
        beat(s, h, h.level)
        touched[s.sid] = s
      end
    end
  end
  save()
  return {}
end

function ops.live() return { live = describeAll(running()) } end

local result = ops[call.op]()
local index = {}
for sid, s in pairs(touched) do
  local held = streams[sid]
  if held and counted(held) then index[#index + 1] = { sid = sid, asset = held.asset, collection = held.coll, score = text(held.exp) }
  else index[#index + 1] = { sid = sid, asset = s.asset, collection = s.coll } end
end
return cjson.encode({ result = result, index = index })
`;
