/**
 * The state that providers share and that outlives them: API keys, and what every account has asked. Everything else
 * a provider needs is in its state folders, so replicas with one store behind a load balancer are one provider.
 *
 * Two stores fit this interface: the embedded one (embedded-store.ts), which answers at once, and one behind a
 * network (redis-store.ts), which answers with promises; `reserve` is one atomic step, for Redis one script.
 */

/** A value now, from memory, or later, from a network. */
export type Soon<T> = T | Promise<T>;

/** How many activation vectors an account may ask of each group. */
export interface Budget {
  readonly vectors: number;
  /** Seconds of a window, counted from 1970-01-01T00:00:00Z; 0: `vectors` in all. */
  readonly windowSeconds: number;
}

/** An API key as it is stored: without the key. */
export interface KeyRecord {
  /** Public name of the key, as `tacet keys list` shows it. */
  readonly id: string;
  /** hashApiKey of the key, in hex. */
  readonly hash: string;
  /** Whose budget is spent; keys of one account share its counts. */
  readonly account: string;
  readonly label: string;
  /** Names of the adapters it may ask; empty: all. */
  readonly adapters: readonly string[];
  /** null: unlimited. */
  readonly budget: Budget | null;
  /** Activation vectors a second on the average; null: no limit. */
  readonly vectorsPerSecond: number | null;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly expiresAt: number | null;
  readonly revokedAt: number | null;
}

export interface Reservation {
  readonly account: string;
  /** What is counted: scopeOf. */
  readonly scope: string;
  /** REQUEST_DIGEST_BYTES that name the request: requestDigest. */
  readonly digest: Uint8Array;
  readonly vectors: number;
  /** undefined: counted, never refused. */
  readonly budget: Budget | undefined;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
  /** The key that asks: its rate is taken from. A store behind a network also looks whether it is revoked. */
  readonly key?: Pick<KeyRecord, "id" | "hash" | "vectorsPerSecond">;
}

export interface Reserved {
  readonly granted: boolean;
  /** Whether the same request had been charged before; then it was not charged again. */
  readonly replayed: boolean;
  /** Vectors left after this; undefined without a budget. */
  readonly left: number | undefined;
  /** Milliseconds that the answer has to wait for the key's rate; undefined: none. */
  readonly waitMs?: number;
}

export interface ProviderStore {
  /** The key with this hash, also if it is revoked or has expired. */
  findKey(hash: string): Soon<KeyRecord | undefined>;
  /** Called when keys may have changed; one listener. */
  onKeysChanged: () => void;
  /**
   * Charges a request, all of it or none. When this returns, or resolves, the charge is as durable as the store
   * promises: the answer may leave.
   *
   * @throws TacetError too_many_requests; unauthorized for a key that was revoked meanwhile; io_failed or unavailable
   *   where the charge can't be kept: no answer then
   */
  reserve(reservation: Reservation): Soon<Reserved>;
  /** Throws, or rejects, if queries could not be charged now. */
  check(): Soon<void>;
  /** Vectors left for each scope. */
  left(account: string, scopes: readonly string[], budget: Budget, nowMs: number): Soon<readonly number[]>;
}

/** Start of the window that a time lies in, in milliseconds. */
export function windowStart(nowMs: number, windowSeconds: number): number {
  return windowSeconds === 0 ? 0 : Math.floor(nowMs / (1000 * windowSeconds)) * 1000 * windowSeconds;
}

/**
 * What a budget is counted for: the modules of a group, as named in the base model. Versions of an adapter share it,
 * whatever their bundles are; two adapters do not.
 */
export function scopeOf(adapter: string, baseFingerprint: string, modules: readonly string[]): string {
  return JSON.stringify([adapter, baseFingerprint.slice(0, 32), ...[...modules].sort()]);
}
