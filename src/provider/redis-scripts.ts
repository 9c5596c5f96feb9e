/**
 * The Lua scripts of a store in Redis. A script runs whole before any other command, so each is one atomic step.
 * They count as asked-counts.ts, api-keys.ts and rate-limiter.ts do; budgets.test.ts and store.test.ts hold
 * them to the same answers.
 *
 * An account's counts are a hash: scope → "2 total latest" and then "windowSeconds start before" for each mark.
 * Version 0.1.0 wrote "total windowVectors window windowSeconds". Numbers are doubles here as there, written with
 * %.0f: Lua's own way drops digits from 10^14 on.
 */
import { MARKED_WINDOWS, MOST_MARKS } from "./asked-counts.ts";
import { LIVE_KEYS } from "./key-ids.ts";
import { BURST_SECONDS, LONGEST_WAIT_MS } from "./rate-limiter.ts";

/**
 * Budgets of the account's keys that may ask the adapter now, and of the key that asks. A key that has expired stays
 * in the account's set until it is revoked: a clock that is set back makes it valid again.
 */
const READ_BUDGETS = `
local budgets = {}
local function add_budget(record)
  if record.revokedAt ~= cjson.null or record.account ~= account or record.budget == cjson.null then return end
  if record.expiresAt ~= cjson.null and now >= record.expiresAt then return end
  local may_ask = #record.adapters == 0
  for _, name in ipairs(record.adapters) do may_ask = may_ask or name == adapter end
  if may_ask then budgets[#budgets + 1] = record.budget end
end

if key_hash ~= "" then
  local text = redis.call("HGET", KEYS[3], key_hash)
  local record = text and cjson.decode(text)
  if not record or record.revokedAt ~= cjson.null then return {"key"} end
  add_budget(record)
end
for _, hash in ipairs(redis.call("SMEMBERS", KEYS[5])) do
  local text = hash ~= key_hash and redis.call("HGET", KEYS[3], hash)
  if text then add_budget(cjson.decode(text)) end
end
`;

const TAKE_RATE = `
local wait = 0
if rate ~= "" then
  local before = math.max(tonumber(redis.call("GET", KEYS[4]) or "0"), now)
  local after = before + 1000 * vectors / tonumber(rate)
  wait = math.ceil(math.max(0, math.min(after - now - ${1000 * BURST_SECONDS}, before - now)))
  if wait > ${LONGEST_WAIT_MS} then return {"rate", wait} end
  redis.call("SET", KEYS[4], string.format("%.17g", after), "PX", whole(math.max(1, math.ceil(after - now))))
end
`;

/** AskedCounts: total, latest, marks {windowSeconds, start, before}, asked_since. */
const READ_COUNTS = `
local total, latest, marks = 0, 0, {}
for i, seconds in ipairs({${MARKED_WINDOWS.join()}}) do marks[i] = {seconds, 0, 0} end
local function write_counts()
  local words = {"2", whole(total), whole(latest)}
  for _, mark in ipairs(marks) do
    for i = 1, 3 do words[#words + 1] = whole(mark[i]) end
  end
  redis.call("HSET", KEYS[1], scope, table.concat(words, " "))
end
local text = redis.call("HGET", KEYS[1], scope)
if text then
  local a, b, c, d = string.match(text, "^(%d+) (%d+) (%d+) (%d+)$")
  if a then
    total, latest = tonumber(a), now
    local window, seconds = tonumber(c), tonumber(d)
    if seconds > 0 and tonumber(b) >= total then latest = math.min(now, window + 1000 * seconds - 1) end
    if total == 0 then latest = 0 end
    -- Its time is given once, also if nothing is charged: else it would count as asked now, whenever that is.
    write_counts()
  else
    local numbers = {}
    for word in string.gmatch(text, "%S+") do numbers[#numbers + 1] = tonumber(word) end
    if numbers[1] ~= 2 then return redis.error_reply("ERR counts of another version") end
    total, latest = numbers[2], numbers[3]
    for i = 4, #numbers, 3 do marks[(i - 1) / 3] = {numbers[i], numbers[i + 1], numbers[i + 2]} end
  end
end

local time = math.max(now, latest)
local function start_of(seconds) return math.floor(time / (1000 * seconds)) * 1000 * seconds end
local function asked_since(start)
  if latest < start then return 0 end
  local before = 0
  for _, mark in ipairs(marks) do
    if mark[2] <= start and mark[3] > before then before = mark[3] end
  end
  return total - before
end
`;

const FIND_REMAINING = `
local left, least, ends = -1, {vectors = 0, windowSeconds = 0}, 0
for _, budget in ipairs(budgets) do
  local seconds = budget.windowSeconds
  local asked, its_end = total, math.huge
  if seconds > 0 then
    asked, its_end = asked_since(start_of(seconds)), start_of(seconds) + 1000 * seconds
  end
  local its_left = math.max(0, budget.vectors - asked)
  local is_tighter = left < 0 or its_left < left
  if its_left == left then
    is_tighter = its_end > ends or (its_end == ends and budget.vectors < least.vectors)
  end
  if is_tighter then left, least, ends = its_left, budget, its_end end
end
`;

const ADD_CHARGE = `
local function is_needed(seconds)
  for _, budget in ipairs(budgets) do if budget.windowSeconds == seconds then return true end end
  return false
end
local function mark_of(seconds)
  local start = start_of(seconds)
  return {seconds, start, total - asked_since(start)}
end
for _, budget in ipairs(budgets) do
  local seconds, is_marked = budget.windowSeconds, budget.windowSeconds == 0
  for _, mark in ipairs(marks) do is_marked = is_marked or mark[1] == seconds end
  local place
  if not is_marked then
    if #marks < ${MOST_MARKS} then place = #marks + 1 end
    for i = ${MARKED_WINDOWS.length + 1}, #marks do
      if not place and not is_needed(marks[i][1]) then place = i end
    end
  end
  if place then marks[place] = mark_of(seconds) end
end
for i, mark in ipairs(marks) do
  if start_of(mark[1]) ~= mark[2] then marks[i] = mark_of(mark[1]) end
end
total, latest = total + vectors, time
write_counts()
redis.call("SET", KEYS[2], "", "PX", remember_ms)
`;

/** What the server says of itself: asked in the scripts, since between a look and a charge it may change. */
const SERVER = `
local function info(section, pattern) return string.match(redis.call("INFO", section), pattern) end
local run_id = info("server", "run_id:(%x+)")
-- In this run, in all of the server. One that does not tell is looked at by its policy alone.
local evicted = info("stats", "evicted_keys:(%d+)") or "?"
`;

/**
 * Whether nothing of the database was ever evicted: the server keeps count in each run, and the count at which all was
 * there is kept. What is evicted may be that count itself, while the format stays; with neither of them an operator has
 * emptied the database. Once lost is lost, until an operator says otherwise.
 */
const IS_WHOLE = `
local function is_whole(whole, lost, format)
  if redis.call("EXISTS", lost) == 1 then return false end
  local its_run, count = string.match(redis.call("GET", whole) or "", "^(%x+) (%S+)$")
  if its_run == run_id and count == evicted then return true end
  redis.call("SET", whole, run_id .. " " .. evicted)
  local is_known = its_run and its_run ~= run_id or not its_run and redis.call("EXISTS", format) == 0
  if is_known and (evicted == "0" or evicted == "?") then return true end
  redis.call("SET", lost, "1")
  return false
end
`;

/**
 * The present epoch, "" where none is good. It is bound to the run of the server, to the history of its data
 * (master_replid) and to what it has evicted: one that has restarted, goes on from the data of a replica, or evicts, may
 * have forgotten what keys have answered, whatever it says of its disk.
 */
const READ_EPOCH = `
local function server_run()
  return run_id .. ":" .. info("replication", "master_replid:(%x+)") .. ":" .. evicted
end
local function read_epoch(name)
  local found, run = string.match(redis.call("GET", name) or "", "^(%x+) (%S+)$")
  return run == server_run() and found or ""
end
`;

/** Whether a key of the private layer is good (key-counts.ts), before anything is written. */
const CHECK_KEY = `
if serial ~= 0 then
  local current = read_epoch(KEYS[6])
  local highest = tonumber(redis.call("GET", KEYS[7]) or "0")
  if current ~= epoch or serial > highest or serial <= highest - ${LIVE_KEYS} then return {"unknown_key"} end
end
`;

/** Before the rate is taken: what is refused here is asked again under another key. */
const CHECK_WEAR = `
if serial ~= 0 and redis.call("EXISTS", KEYS[2]) == 0 then
  local used = tonumber(redis.call("HGET", KEYS[8], scope) or "0")
  if used + vectors > key_limit then return {"worn_key"} end
end
`;

const ADD_WEAR = `
if serial ~= 0 then key_left = key_limit - redis.call("HINCRBY", KEYS[8], scope, whole(vectors)) end
`;

/**
 * Charges a request.
 *
 *     KEYS  1 the account's counts  2 the request's mark  3 all keys  4 the key's rate  5 hashes of the account's keys
 *           6 the epoch  7 serial of the account's newest key of that epoch  8 what the key has answered
 *           9 what was evicted when all was there  10 is there where something was evicted since  11 format
 *     ARGV  1 account  2 adapter  3 scope  4 vectors  5 now  6 milliseconds to remember the request
 *           7 hash of the API key or ""  8 vectors a second or ""
 *           9 epoch of the key that is asked under  10 its serial, 0: none  11 vectors that a key answers
 *
 * → ["ok" or "budget", replayed 0/1, left or -1, vectors and windowSeconds of the budget that leaves least, time of
 * the charge, waitMs, vectors left of the key or -1], ["rate", waitMs], ["unknown_key"], ["worn_key"], ["key"]: not
 * there, or revoked, or ["lost"]. Numbers of budgets and times as text.
 */
export const RESERVE = `
local account, adapter, scope = ARGV[1], ARGV[2], ARGV[3]
local vectors, now, remember_ms = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local key_hash, rate = ARGV[7], ARGV[8]
local epoch, serial, key_limit = ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])
local key_left = -1
local function whole(x) return string.format("%.0f", x) end
${SERVER}${IS_WHOLE}if not is_whole(KEYS[9], KEYS[10], KEYS[11]) then return {"lost"} end
${READ_EPOCH}${READ_BUDGETS}${CHECK_KEY}${CHECK_WEAR}${TAKE_RATE}${READ_COUNTS}${FIND_REMAINING}
local function reply(outcome, replayed, rest)
  return {outcome, replayed, whole(rest), whole(least.vectors), whole(least.windowSeconds), whole(time), wait, whole(key_left)}
end
if redis.call("EXISTS", KEYS[2]) == 1 then
  if serial ~= 0 then key_left = key_limit - tonumber(redis.call("HGET", KEYS[8], scope) or "0") end
  return reply("ok", 1, left)
end
if left >= 0 and vectors > left then return reply("budget", 0, left) end
${ADD_WEAR}${ADD_CHARGE}
return reply("ok", 0, left < 0 and left or left - vectors)
`;

/**
 * Replaces a key's record by another, or puts one where none was ("" for `before`), and says so to every provider.
 *
 *     KEYS  1 all keys  2 the version of all keys  3 hashes of the account's keys
 *     ARGV  1 hash  2 before  3 after  4 channel
 *
 * → 1, or 0 where the record is not `before` any more
 */
export const CHANGE_KEY = `
local found = redis.call("HGET", KEYS[1], ARGV[1])
if (found or "") ~= ARGV[2] then return 0 end
redis.call("HSET", KEYS[1], ARGV[1], ARGV[3])
if cjson.decode(ARGV[3]).revokedAt == cjson.null then
  redis.call("SADD", KEYS[3], ARGV[1])
else
  redis.call("SREM", KEYS[3], ARGV[1])
end
redis.call("PUBLISH", ARGV[4], redis.call("INCR", KEYS[2]))
return 1
`;

/**
 * Makes a database the store of this version: an empty one, one of version 0.1.0, which knew no keys by account, or one
 * that did not look whether anything was evicted.
 *
 *     KEYS  1 format  2 all keys  3, 4 as 9 and 10 of RESERVE
 *     ARGV  1 this format  2 begins the names of the accounts' sets
 *
 * → ["the format that it has now", 1 if all is there]
 */
export const OPEN = `
${SERVER}${IS_WHOLE}
local found = redis.call("GET", KEYS[1])
if found == ARGV[1] then return {found, is_whole(KEYS[3], KEYS[4], KEYS[1]) and 1 or 0} end
if found and found ~= "1" and found ~= "2" then return {found, 1} end
local all = redis.call("HGETALL", KEYS[2])
-- Keys without a format: that was evicted, and who knows what else.
if not found and #all > 0 then redis.call("SET", KEYS[4], "1") end
redis.call("SET", KEYS[3], run_id .. " " .. evicted)
for i = 1, #all, 2 do
  local record = cjson.decode(all[i + 1])
  if record.revokedAt == cjson.null then redis.call("SADD", ARGV[2] .. record.account, all[i]) end
end
redis.call("SET", KEYS[1], ARGV[1])
return {ARGV[1], 1 - redis.call("EXISTS", KEYS[4])}
`;

/** → 1 if nothing was evicted, else 0. KEYS 1 to 3 as 9 to 11 of RESERVE */
export const LOOK = `
${SERVER}${IS_WHOLE}return is_whole(KEYS[1], KEYS[2], KEYS[3]) and 1 or 0
`;

/**
 * A new key of an account; it begins an epoch where none is good.
 *
 *     KEYS  1 the epoch
 *     ARGV  1 begins the names of serials  2 account  3 begins the names of what keys have answered
 *           4 16 hex digits that were never used
 *
 * → ["epoch", serial, 1 if the epoch begins with it]; what a key that is good no more has answered is forgotten
 */
export const ALLOCATE_KEY = `
${SERVER}${READ_EPOCH}
local epoch = read_epoch(KEYS[1])
local begins = epoch == ""
if begins then
  epoch = ARGV[4]
  redis.call("SET", KEYS[1], epoch .. " " .. server_run())
end
local highest = redis.call("INCR", ARGV[1] .. epoch .. ":" .. ARGV[2])
local old = highest - ${LIVE_KEYS}
if old > 0 then redis.call("DEL", ARGV[3] .. epoch .. ":" .. string.format("%.0f", old) .. ":" .. ARGV[2]) end
return {epoch, highest, begins and 1 or 0}
`;

/**
 * Which keys of an account are good.
 *
 *     KEYS  1 the epoch    ARGV  1 begins the names of serials  2 account
 *
 * → ["epoch", or "" where none is good, serial of the newest]
 */
export const NEWEST_KEY = `
${SERVER}${READ_EPOCH}
local epoch = read_epoch(KEYS[1])
return {epoch, tonumber(redis.call("GET", ARGV[1] .. epoch .. ":" .. ARGV[2]) or "0")}
`;

/**
 * Removes those of some entries that are of epochs before the present one. Which that is, is asked here again: while the
 * entries were looked for another one may have begun.
 *
 *     KEYS  1 the epoch; then names of entries    ARGV  1 begins all names
 */
export const FORGET_EPOCHS = `
local present = string.match(redis.call("GET", KEYS[1]) or "", "^(%x+) ")
for i = 2, #KEYS do
  local rest = string.sub(KEYS[i], #ARGV[1] + 1)
  local epoch = string.match(rest, "^serial:(%x+):") or string.match(rest, "^used:(%x+):")
  if present and epoch and epoch ~= present then redis.call("DEL", KEYS[i]) end
end
`;
