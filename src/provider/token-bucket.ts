/** A token bucket: `perSecond` tokens a second on the average, up to `burst` of them at once. */
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
