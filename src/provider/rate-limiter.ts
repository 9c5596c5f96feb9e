/**
 * Token buckets, one for each key: `perSecond` vectors a second on the average, up to BURST_SECONDS of them at once.
 * In the memory of one provider; replicas with a Redis server have the same in a script (redis-scripts.ts).
 */
import { TacetError } from "../base/errors.ts";

export const BURST_SECONDS = 10;
/** A query that has to wait longer than this for its key's rate is refused. */
export const LONGEST_WAIT_MS = 20_000;
const MOST_BUCKETS = 10_000;

export class RateLimiter {
  /** For each key the time at which its bucket is full again, in milliseconds. */
  readonly #fullAt = new Map<string, number>();

  /**
   * Takes vectors out of the bucket; returns how many milliseconds they have to wait for.
   *
   * @throws TacetError too_many_requests if that is more than `longestMs`; nothing is taken then
   */
  take(key: string, perSecond: number, vectors: number, nowMs: number, longestMs: number): number {
    const before = Math.max(this.#fullAt.get(key) ?? 0, nowMs);
    const after = before + (1000 * vectors) / perSecond;
    // A query larger than the bucket goes when the bucket is full.
    const waitMs = Math.max(0, Math.min(after - nowMs - 1000 * BURST_SECONDS, before - nowMs));
    if (waitMs > longestMs) {
      throw rateExceeded(perSecond, waitMs);
    }
    this.#fullAt.set(key, after);
    if (this.#fullAt.size > MOST_BUCKETS) this.#forgetFull(nowMs);
    return Math.ceil(waitMs);
  }

  #forgetFull(nowMs: number): void {
    for (const [key, fullAt] of this.#fullAt) if (fullAt <= nowMs) this.#fullAt.delete(key);
  }
}

export function rateExceeded(perSecond: number, waitMs: number): TacetError {
  return new TacetError("too_many_requests", `the key may ask ${perSecond} vectors a second`, {
    hint: `ask again in ${Math.ceil(waitMs / 1000)} s`,
  });
}

/** One token bucket: `perSecond` tokens a second on the average, up to `burst` of them at once. */
export class TokenBucket {
  /** When the bucket is full again, in milliseconds. */
  #fullAt = 0;

  /** Takes tokens. False: there are not as many, and none is taken. */
  take(tokens: number, perSecond: number, burst: number, nowMs: number): boolean {
    const after = Math.max(this.#fullAt, nowMs) + (1000 * tokens) / perSecond;
    if (after - nowMs > (1000 * burst) / perSecond) return false;
    this.#fullAt = after;
    return true;
  }

  isFull(nowMs: number): boolean {
    return this.#fullAt <= nowMs;
  }
}
