/**
 * The state that providers share and that outlives them: API keys, and what every account has asked. Everything else
 * a provider needs is in its state folders, so replicas with one store behind a load balancer are one provider.
 *
 * Two stores fit this interface: the embedded one (embedded-store.ts), and one behind a network (redis-store.ts).
 * `reserve` is one atomic step, for Redis one script.
 */

/** How many activation vectors an account may ask of each group, whichever of its keys asks (asked-counts.ts). */
export interface Grant {
  readonly vectors: number;
  /** Seconds of a window, counted from 1970-01-01T00:00:00Z; 0: `vectors` in all. */
  readonly windowSeconds: number;
}

/** The budget that leaves least, and how much that is. */
export interface Remaining {
  readonly budget: Grant;
  /** Vectors. */
  readonly left: number;
  /** When the window ends, in milliseconds since 1970; Infinity for a budget in all. */
  readonly endsAt: number;
}

/** An API key as it is stored: without the key. */
export interface KeyRecord {
  /** Public name of the key, as `tacet keys list` shows it. */
  readonly id: string;
  /** hashApiKey of the key, in hex. */
  readonly hash: string;
  /** Whose questions are counted; the budgets of all valid keys of an account hold for each of them. */
  readonly account: string;
  readonly label: string;
  /** Names of the adapters it may ask; empty: all. */
  readonly adapters: readonly string[];
  /** null: unlimited. */
  readonly budget: Grant | null;
  /** Activation vectors a second on the average; null: no limit. */
  readonly vectorsPerSecond: number | null;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly expiresAt: number | null;
  readonly revokedAt: number | null;
}

/** The key that a query is asked under. */
export interface KeyUse {
  /** KEY_ID_BYTES. */
  readonly keyId: Uint8Array;
  /** vectorsPerKey */
  readonly limit: number;
}

export interface Reservation {
  readonly account: string;
  /** Name of the adapter that is asked: budgets of keys that may not ask it do not apply. */
  readonly adapter: string;
  /** What is counted: scopeOf. */
  readonly scope: string;
  /** REQUEST_DIGEST_BYTES that name the request: requestDigest. */
  readonly digest: Uint8Array;
  readonly vectors: number;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
  /** The key that asks: its rate is taken from, and it must not be revoked. */
  readonly key?: Pick<KeyRecord, "id" | "hash" | "vectorsPerSecond">;
  /** Counted for the account, the scope and this key, in the same step. */
  readonly keyUse?: KeyUse;
}

export interface Reserved {
  readonly granted: boolean;
  /** Whether the same request had been charged before; then it was not charged again. */
  readonly replayed: boolean;
  /** What is left after this of the budget that leaves least; undefined where no budget applies. */
  readonly remaining: Remaining | undefined;
  /** Milliseconds that the answer has to wait for the key's rate; undefined: none. */
  readonly waitMs?: number;
  /** Vectors that the key has left in the scope after this; absent where nothing is granted, or no key is named. */
  readonly keyLeft?: number;
  /** Why the key does not answer: nothing is granted then, and nothing charged. */
  readonly keyRefused?: "unknown_key" | "worn_key";
}

export interface ProviderStore {
  /** The key with this hash, also if it is revoked or has expired. */
  findKey(hash: string): Promise<KeyRecord | undefined>;
  /** Called when keys may have changed; one listener. */
  onKeysChanged: () => void;
  /**
   * Charges a request, all of it or none, if all budgets that apply bear it. When this resolves, the charge is as
   * durable as the store promises: the answer may leave.
   *
   * @throws TacetError too_many_requests; unauthorized for a key that was revoked meanwhile; io_failed or unavailable
   *   where the charge can't be kept: no answer then
   */
  reserve(reservation: Reservation): Promise<Reserved>;
  /** A new key of an account, its id. It is durable, through a loss of power too, when this resolves. */
  allocateKey(account: string): Promise<Uint8Array>;
  /** By key: vectors left of the scope, of these, that has fewest; undefined: not a key that may be used. */
  keysLeft(
    account: string,
    keyIds: readonly Uint8Array[],
    scopes: readonly string[],
    limit: number,
  ): Promise<(number | undefined)[]>;
  /** Rejects if queries could not be charged now. */
  check(): Promise<void>;
  /** What is left to an account of the budget and the scope, of these, that leave least; undefined: no budget. */
  remaining(
    account: string,
    adapter: string,
    scopes: readonly string[],
    nowMs: number,
  ): Promise<Remaining | undefined>;
}

/**
 * What a budget is counted for: the modules of a group, as named in the base model. Versions of an adapter share it,
 * whatever their bundles are; two adapters do not.
 */
export function scopeOf(adapter: string, baseFingerprint: string, modules: readonly string[]): string {
  return JSON.stringify([adapter, baseFingerprint.slice(0, 32), ...[...modules].sort()]);
}

/** The adapter of a scope. */
export function adapterOf(scope: string): string {
  return (JSON.parse(scope) as [string])[0];
}

/** Of several scopes' remainders the smallest; undefined where no budget applies. */
export function leastOf(all: readonly (Remaining | undefined)[]): Remaining | undefined {
  let least: Remaining | undefined;
  for (const each of all)
    if (least === undefined || (each !== undefined && each.left < least.left)) least = each;
  return least;
}
