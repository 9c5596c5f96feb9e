/**
 * The Lua scripts of a store in Redis. A script runs whole before any other command, so each is one atomic step.
 * They count as usage-ledger.ts and rate-limiter.ts do; store.test.ts holds them to the same answers.
 *
 * An account's counts are a hash: scope → "total windowVectors window windowSeconds". Numbers are doubles here as
 * there, written with %.0f: Lua's own way drops digits from 10^14 on.
 */
import { BURST_SECONDS, LONGEST_WAIT_MS } from "./rate-limiter.ts";

/**
 * Charges a request.
 *
 *     KEYS  1 the account's counts  2 the request's mark  3 all keys  4 the key's rate
 *     ARGV  1 scope  2 vectors  3 budget or ""  4 windowSeconds  5 now  6 start of the window of now
 *           7 milliseconds to remember the request  8 hash of the key or ""  9 vectors a second or ""
 *
 * → ["ok", replayed 0/1, left or -1, waitMs], ["budget", left], ["rate", waitMs] or ["key"]: not there, or revoked
 */
export const RESERVE = `
local vectors, now = tonumber(ARGV[2]), tonumber(ARGV[5])
local function whole(x) return string.format("%.0f", x) end

if ARGV[8] ~= "" then
  local record = redis.call("HGET", KEYS[3], ARGV[8])
  if not record or cjson.decode(record).revokedAt ~= cjson.null then return {"key"} end
end

local wait = 0
if ARGV[9] ~= "" then
  local before = math.max(tonumber(redis.call("GET", KEYS[4]) or "0"), now)
  local after = before + 1000 * vectors / tonumber(ARGV[9])
  wait = math.ceil(math.max(0, math.min(after - now - ${1000 * BURST_SECONDS}, before - now)))
  if wait > ${LONGEST_WAIT_MS} then return {"rate", wait} end
  redis.call("SET", KEYS[4], string.format("%.17g", after), "PX", whole(math.max(1, math.ceil(after - now))))
end

local total, inWindow, window, seconds = 0, 0, 0, 0
local counts = redis.call("HGET", KEYS[1], ARGV[1])
if counts then
  local a, b, c, d = string.match(counts, "^(%d+) (%d+) (%d+) (%d+)$")
  total, inWindow, window, seconds = tonumber(a), tonumber(b), tonumber(c), tonumber(d)
end

local windowSeconds, current = tonumber(ARGV[4]), 0
if windowSeconds > 0 then
  -- A clock that is behind another replica's does not open the last window again.
  current = tonumber(ARGV[6])
  local back = window - current
  if seconds == windowSeconds and back > 0 and back <= 1000 * windowSeconds then current = window end
end
local isSame = seconds == windowSeconds and window == current
local left = -1
if ARGV[3] ~= "" then
  local asked = total
  if windowSeconds > 0 then asked = isSame and inWindow or 0 end
  left = math.max(0, tonumber(ARGV[3]) - asked)
end

if redis.call("EXISTS", KEYS[2]) == 1 then return {"ok", 1, left, wait} end
if left >= 0 and vectors > left then return {"budget", left} end

total = total + vectors
if windowSeconds > 0 then
  inWindow = (isSame and inWindow or 0) + vectors
  window, seconds = current, windowSeconds
end
local text = whole(total) .. " " .. whole(inWindow) .. " " .. whole(window) .. " " .. whole(seconds)
redis.call("HSET", KEYS[1], ARGV[1], text)
redis.call("SET", KEYS[2], "", "PX", ARGV[7])
if left >= 0 then left = left - vectors end
return {"ok", 0, left, wait}
`;

/**
 * Puts a key's record in the place of another, or of none ("" for `before`), and says so to every provider.
 *
 *     KEYS  1 all keys  2 the version of all keys    ARGV  1 hash  2 before  3 after  4 channel
 *
 * → 1, or 0 where the record is not `before` any more
 */
export const CHANGE_KEY = `
local found = redis.call("HGET", KEYS[1], ARGV[1])
if (found or "") ~= ARGV[2] then return 0 end
redis.call("HSET", KEYS[1], ARGV[1], ARGV[3])
redis.call("PUBLISH", ARGV[4], redis.call("INCR", KEYS[2]))
return 1
`;
