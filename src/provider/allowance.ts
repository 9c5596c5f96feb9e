/**
 * What a client may send that no budget pays for. Two rates, of which every message pays before it is decoded, and those
 * that are refused, repeated or ask for a bundle pay once more:
 *
 * - of a key with a rate, messages: as many a second as vectors, since each query has one vector at least;
 * - refusals, repeats and bundles of a connection, and of all connections of a key together. An honest client comes
 *   close to neither: after a lost connection it repeats as many queries as it had open, and a budget that has ended
 *   refuses one prompt's.
 *
 * Rates are kept by each provider in its memory.
 */
import { TacetError } from "../base/errors.ts";
import { BURST_SECONDS, LONGEST_WAIT_MS, TokenBucket } from "./rate-limiter.ts";

const UNPAID_BURST = 250;
const UNPAID_PER_SECOND = 25;
/** A key's connections together have as much as so many connections. */
const KEY_CONNECTIONS = 16;
/** Messages at once of a key with a low rate. */
const LEAST_BURST = 64;
/** What a bundle costs, in refusals. */
const BUNDLE_COST = 10;
/** Vectors of a repeated query that cost as much as a refusal. */
const REPEATED_VECTORS = 64;
/** Keys that are remembered without a connection, as long as their buckets are not full. */
const MOST_IDLE_KEYS = 10_000;

/** Of all connections of a key. */
class KeyAllowance {
  connections = 0;
  readonly messages = new TokenBucket();
  readonly unpaid = new TokenBucket();
}

export class KeyAllowances {
  readonly #ofKey = new Map<string, KeyAllowance>();
  readonly #now: () => number;
  readonly #mostConnections: number;

  constructor(now: () => number, mostConnections = Number.POSITIVE_INFINITY) {
    this.#now = now;
    this.#mostConnections = mostConnections;
  }

  /**
   * Counts a connection, of a key where it has one, until its `leave` is called.
   *
   * @throws TacetError too_many_requests if the key has as many as it may, or has been refused too often
   */
  enter(keyId?: string): Allowance {
    if (keyId === undefined) return new Allowance(this.#now, undefined, () => {});
    const key = this.#ofKey.get(keyId) ?? new KeyAllowance();
    if (key.connections >= this.#mostConnections) {
      const what = `the key has ${key.connections} connections open, and may have no more`;
      throw new TacetError("too_many_requests", what);
    }
    if (!takeUnpaid(key.unpaid, 1, KEY_CONNECTIONS, this.#now())) throw refusedTooOften();
    this.#ofKey.set(keyId, key);
    key.connections++;
    return new Allowance(this.#now, key, () => {
      key.connections--;
      if (this.#ofKey.size > MOST_IDLE_KEYS) this.#forget();
    });
  }

  #forget(): void {
    const now = this.#now();
    for (const [id, { connections, messages, unpaid }] of this.#ofKey) {
      if (connections === 0 && messages.isFull(now) && unpaid.isFull(now)) this.#ofKey.delete(id);
    }
  }
}

/** Of one connection. */
export class Allowance {
  readonly #now: () => number;
  readonly #key: KeyAllowance | undefined;
  readonly #unpaid = new TokenBucket();
  #leave: () => void;

  constructor(now: () => number, key: KeyAllowance | undefined, leave: () => void) {
    this.#now = now;
    this.#key = key;
    this.#leave = leave;
  }

  /**
   * A message has come.
   *
   * @param vectorsPerSecond the key's rate; null: none
   * @throws TacetError too_many_requests: it is not worth decoding
   */
  message(vectorsPerSecond: number | null): void {
    if (this.#key === undefined || vectorsPerSecond === null) return;
    // As many as may wait for their turn, and those that need not.
    const burst = Math.max(LEAST_BURST, (BURST_SECONDS + LONGEST_WAIT_MS / 1000) * vectorsPerSecond);
    if (this.#key.messages.take(1, vectorsPerSecond, burst, this.#now())) return;
    throw new TacetError("too_many_requests", `the key may send ${vectorsPerSecond} messages a second`, {
      hint: "ask less often, and do not repeat what was refused",
    });
  }

  /** A query was refused. False: too many were, and the connection should go. */
  refused(): boolean {
    return this.#spend(1);
  }

  /** @throws TacetError too_many_requests if a query that was paid for before is not answered once more now */
  repeated(vectors: number): void {
    if (!this.#spend(Math.ceil(vectors / REPEATED_VECTORS))) throw refusedTooOften();
  }

  /** @throws TacetError too_many_requests if the bundle is not sent once more now */
  bundle(): void {
    if (!this.#spend(BUNDLE_COST)) throw refusedTooOften();
  }

  /** The connection has gone. */
  leave(): void {
    const leave = this.#leave;
    this.#leave = () => {};
    leave();
  }

  #spend(tokens: number): boolean {
    const now = this.#now();
    if (!takeUnpaid(this.#unpaid, tokens, 1, now)) return false;
    return this.#key === undefined || takeUnpaid(this.#key.unpaid, tokens, KEY_CONNECTIONS, now);
  }
}

function takeUnpaid(bucket: TokenBucket, tokens: number, connections: number, nowMs: number): boolean {
  return bucket.take(tokens, connections * UNPAID_PER_SECOND, connections * UNPAID_BURST, nowMs);
}

export function refusedTooOften(): TacetError {
  return new TacetError("too_many_requests", "too many requests were refused or repeated", {
    hint: "connect again in some seconds, and do not repeat what was refused",
  });
}
