/**
 * What the network costs, from how long answers take: for decisions about how to ask (model/delta-source.ts), never about
 * what. It sees sizes and times of messages, as anybody on the way does.
 *
 *   roundTripMs   the least time of a short query, minus what the provider computed, of the last ones
 *   vectorMs      the least time a vector of a *burst*: from the first query, when none was open, to when none is again
 *
 * A burst in which vectors hardly waited for each other shows no more than that the rate is as high at least.
 * Both are what was possible at best: whatever else kept this process busy has only made them larger.
 */
import type { Line } from "../model/delta-source.ts";

/** Vectors of a query that shows the round trip, at most; of a burst that shows the rate, at least. */
const SHORT_VECTORS = 2;
const BURST_VECTORS = 16;
/** The least of so many round trips, and of as many before them, counts. */
const ROUND_TRIPS = 1024;
/** Bursts that are remembered. */
const BURSTS = 32;
/** Before anything was measured: what a home's line sends in a millisecond, 20 Mbit/s, unless the provider is nearby. */
const LIKELY_BYTES = 2500;
const NEARBY_MS = 1;

/** So many round trips a vector waits at least, on the average, where it is the rate that limits a burst. */
const CROWDED = 1.5;

/** A time in which queries were open, and the vectors of them. */
interface Burst {
  readonly ms: number;
  readonly vectors: number;
}

export class LineEstimate implements Line {
  readonly #welcomeMs: number;
  readonly #queryBytes: number;
  /** Least round trips: of those since `count` was 0, and of as many before. */
  #least = { now: Number.POSITIVE_INFINITY, before: Number.POSITIVE_INFINITY, count: 0 };
  /** The last ones. */
  readonly #bursts: Burst[] = [];
  #open = 0;
  /** What its answered vectors waited is summed up. */
  #burst = { start: 0, vectors: 0, waitedMs: 0 };

  /**
   * @param welcomeMs from Hello to Welcome
   * @param queryBytes of one vector
   */
  constructor(welcomeMs: number, queryBytes: number) {
    this.#welcomeMs = welcomeMs;
    this.#queryBytes = queryBytes;
  }

  get roundTripMs(): number {
    const least = Math.min(this.#least.now, this.#least.before);
    return least === Number.POSITIVE_INFINITY ? this.#welcomeMs : least;
  }

  get vectorMs(): number {
    if (this.#bursts.length > 0) return Math.min(...this.#bursts.map((burst) => this.#eachMs(burst)));
    return this.roundTripMs < NEARBY_MS ? 0 : this.#queryBytes / LIKELY_BYTES;
  }

  /** The round trip may have been measured better since. */
  #eachMs({ ms, vectors }: Burst): number {
    return Math.max(0, (ms - this.roundTripMs) / vectors);
  }

  /** A query goes out at time `now`. */
  sent(vectors: number, now: number): void {
    if (this.#open++ === 0) this.#burst = { start: now, vectors: 0, waitedMs: 0 };
    this.#burst.vectors += vectors;
  }

  /** It was answered, `ms` later, of which the provider computed `providerMs`. */
  answered(vectors: number, ms: number, providerMs: number, now: number): void {
    if (vectors <= SHORT_VECTORS) this.#addRoundTrip(Math.max(0, ms - providerMs));
    this.#open--;
    this.#burst.waitedMs += vectors * (ms - providerMs);
    const { start, vectors: all, waitedMs } = this.#burst;
    if (this.#open > 0 || all < BURST_VECTORS) return;
    const burst = { ms: now - start, vectors: all };
    const isCrowded = waitedMs / all >= CROWDED * this.roundTripMs;
    if (!isCrowded && this.#eachMs(burst) >= this.vectorMs) return;
    this.#bursts.push(burst);
    if (this.#bursts.length > BURSTS) this.#bursts.shift();
  }

  /** It was not answered: what was measured since the burst began says nothing. */
  failed(): void {
    this.#open--;
    this.#burst.vectors = Number.NEGATIVE_INFINITY;
  }

  #addRoundTrip(ms: number): void {
    const { now, before, count } = this.#least;
    this.#least =
      count === ROUND_TRIPS
        ? { now: ms, before: now, count: 1 }
        : { now: Math.min(now, ms), before, count: count + 1 };
  }
}
