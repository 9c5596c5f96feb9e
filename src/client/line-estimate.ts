/**
 * What the network costs, from how long answers take: for decisions about how to ask (model/delta-source.ts), never about
 * what. It sees sizes and times of messages, as anybody on the way does.
 *
 *   roundTripMs   the least time of a short query, minus what the provider computed, of the last ones
 *   vectorMs      the least time a vector of a *burst*: from the first query, when none was open, to when none is again
 *
 * Both are what was possible at best: whatever else kept this process busy has only made them larger.
 */
import type { Line } from "../model/delta-source.ts";

/** Vectors of a query that shows the round trip, at most; of a burst that shows the rate, at least. */
const SHORT_VECTORS = 2;
const BURST_VECTORS = 16;
/** The least of so many samples, and of as many before them, counts. */
const SAMPLES = { roundTrip: 64, burst: 16 };
/** Before anything was measured: what a home's line sends in a millisecond, 20 Mbit/s, unless the provider is nearby. */
const LIKELY_BYTES = 2500;
const NEARBY_MS = 1;

/** The least of the last samples. */
class RecentLeast {
  readonly #most: number;
  #count = 0;
  #now = Number.POSITIVE_INFINITY;
  #before = Number.POSITIVE_INFINITY;

  constructor(most: number) {
    this.#most = most;
  }

  add(sample: number): void {
    if (this.#count === this.#most) {
      this.#before = this.#now;
      this.#now = Number.POSITIVE_INFINITY;
      this.#count = 0;
    }
    this.#count++;
    this.#now = Math.min(this.#now, sample);
  }

  /** undefined: there is no sample. */
  get value(): number | undefined {
    const least = Math.min(this.#now, this.#before);
    return least === Number.POSITIVE_INFINITY ? undefined : least;
  }
}

export class LineEstimate implements Line {
  readonly #welcomeMs: number;
  readonly #queryBytes: number;
  readonly #roundTrip = new RecentLeast(SAMPLES.roundTrip);
  readonly #vector = new RecentLeast(SAMPLES.burst);
  #open = 0;
  #burst = { start: 0, vectors: 0 };

  /**
   * @param welcomeMs from Hello to Welcome
   * @param queryBytes of one vector
   */
  constructor(welcomeMs: number, queryBytes: number) {
    this.#welcomeMs = welcomeMs;
    this.#queryBytes = queryBytes;
  }

  get roundTripMs(): number {
    return this.#roundTrip.value ?? this.#welcomeMs;
  }

  get vectorMs(): number {
    const measured = this.#vector.value;
    if (measured !== undefined) return measured;
    return this.roundTripMs < NEARBY_MS ? 0 : this.#queryBytes / LIKELY_BYTES;
  }

  /** A query goes out at time `now`. */
  sent(vectors: number, now: number): void {
    if (this.#open++ === 0) this.#burst = { start: now, vectors: 0 };
    this.#burst.vectors += vectors;
  }

  /** It was answered, `ms` later, of which the provider computed `providerMs`. */
  answered(vectors: number, ms: number, providerMs: number, now: number): void {
    if (vectors <= SHORT_VECTORS) this.#roundTrip.add(Math.max(0, ms - providerMs));
    this.#open--;
    const { start, vectors: all } = this.#burst;
    if (this.#open > 0 || all < BURST_VECTORS) return;
    this.#vector.add(Math.max(0, now - start - this.roundTripMs) / all);
  }

  /** It was not answered: what was measured since the burst began says nothing. */
  failed(): void {
    this.#open--;
    this.#burst.vectors = Number.NEGATIVE_INFINITY;
  }
}
