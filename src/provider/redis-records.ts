/** What the values in the Redis database hold: keys as JSON, counts as numbers (redis-scripts.ts writes them). */
import { TacetError } from "../base/errors.ts";
import { decodeKeyFile } from "./api-keys.ts";
import { AskedCounts, MARKED_WINDOWS, type Mark, windowStart } from "./asked-counts.ts";
import type { KeyRecord, Remaining } from "./store.ts";

/** @throws TacetError bad_state */
export function decodeRecords(texts: readonly string[]): KeyRecord[] {
  return decodeKeyFile(`{"version":1,"keys":[${texts.join()}]}`, "the list of keys in Redis");
}

/** @throws TacetError bad_state */
export function decodeCounts(text: unknown, nowMs: number): AskedCounts {
  if (typeof text !== "string") return new AskedCounts();
  const numbers = text.split(" ").map(Number);
  if (numbers.length === 4) {
    const [total, windowVectors, window, windowSeconds] = numbers;
    return AskedCounts.fromVersion1(total, windowVectors, window, windowSeconds, nowMs);
  }
  const [version, total, latest, ...rest] = numbers;
  const marks = Array.from({ length: rest.length / 3 }, (_, i): Mark => {
    const [windowSeconds, start, before] = rest.slice(3 * i);
    return { windowSeconds, start, before };
  });
  if (version === 2 && marks.length >= MARKED_WINDOWS.length) return new AskedCounts(total, latest, marks);
  throw new TacetError("bad_state", "the Redis database holds counts of another version");
}

/** What the script says is left, with when its window ends. @param time in milliseconds since 1970 */
export function remainingOf(left: number, vectors: number, windowSeconds: number, time: number): Remaining {
  const end = windowStart(time, windowSeconds) + 1000 * windowSeconds;
  const endsAt = windowSeconds === 0 ? Number.POSITIVE_INFINITY : end;
  return { budget: { vectors, windowSeconds }, left, endsAt };
}
