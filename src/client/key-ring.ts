/**
 * The keys of one adapter: W encrypted under secrets of the provider, each good for some vectors of each group.
 *
 * A query needs a key with vectors left. The next key is fetched when two thirds of the present ones are used up, and
 * several at once where a long prompt will need them. What is fetched, and when, follows from counts alone: never from
 * an activation or an answer (docs/security.md, rule 6). The provider counts too, and its count decides: other processes
 * may have used the same key. A key that it refuses is dropped, and the query goes on with another.
 */
import { toHex } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import type { ClientKey, ClientLayer } from "../pll/client-layer.ts";
import type { EncryptedWeights } from "../pll/provider-layer.ts";

/** A key as it comes from the provider, or from where it was kept. */
export interface FetchedKey {
  readonly id: Uint8Array;
  /** Vectors left of the group that has fewest. */
  readonly vectorsLeft: number;
  /** By group. */
  readonly groups: readonly EncryptedWeights[];
}

/** Where keys come from. */
export interface KeySource {
  /** @throws TacetError what the provider refuses with */
  fetchKey(): Promise<FetchedKey>;
}

/** A key in kernel memory. */
export interface HeldKey {
  readonly id: Uint8Array;
  readonly groups: readonly ClientKey[];
  /** Vectors left, by group. */
  readonly left: number[];
  /** Queries that are open under it. */
  users: number;
  isDropped: boolean;
}

interface Waiting {
  readonly group: number;
  readonly vectors: number;
  resolve(key: HeldKey): void;
  reject(error: unknown): void;
}

/** Of the vectors that keys in hand have left of a group: the next key is fetched below that share of one key. */
const FETCH_BELOW = 1 / 3;
/** Keys in hand or on their way at a time: kernel memory. */
const MOST_KEYS = 4;

export class KeyRing {
  readonly #layers: readonly ClientLayer[];
  readonly #source: KeySource;
  readonly #vectorsPerKey: number;
  readonly #keys: HeldKey[] = [];
  readonly #waiting: Waiting[] = [];
  #fetching = 0;
  #closed = false;
  /** Keys that were fetched, and what they weighed. */
  readonly counts = { keys: 0, bytes: 0 };

  constructor(layers: readonly ClientLayer[], source: KeySource, vectorsPerKey: number) {
    this.#layers = layers;
    this.#source = source;
    this.#vectorsPerKey = vectorsPerKey;
  }

  /** Vectors that one query may have at most. */
  get vectorsPerKey(): number {
    return this.#vectorsPerKey;
  }

  /** Says that a pass over so many tokens begins: its keys are fetched while the first ones are used. */
  expect(tokens: number): void {
    const needed = Math.ceil(tokens / this.#vectorsPerKey);
    const least = Math.min(...this.#layers.map((_, group) => this.#leftOf(group)));
    const missing = Math.ceil((tokens - least) / this.#vectorsPerKey);
    this.#fetch(Math.min(Math.max(missing, this.#isLow() ? 1 : 0), needed));
  }

  /**
   * A key with `vectors` vectors of the group left, which are used up by this call. Give it back with {@link done}.
   *
   * @throws TacetError what fetching a key fails with
   */
  async take(group: number, vectors: number): Promise<HeldKey> {
    const found = this.#find(group, vectors);
    if (found) return found;
    return await new Promise<HeldKey>((resolve, reject) => {
      this.#waiting.push({ group, vectors, resolve, reject });
      this.#makeRoom();
      this.#fetch(1);
    });
  }

  /** As {@link take}, where such a key is in hand; else undefined. */
  takeNow(group: number, vectors: number): HeldKey | undefined {
    return this.#find(group, vectors);
  }

  /** A query under the key is answered, or given up. */
  done(key: HeldKey): void {
    key.users--;
    this.#tidy(key);
  }

  /** The provider does not answer under this key any more. */
  drop(key: HeldKey): void {
    key.isDropped = true;
    const at = this.#keys.indexOf(key);
    if (at >= 0) this.#keys.splice(at, 1);
    this.#tidy(key);
  }

  /** Takes a key that was kept from before. */
  add(fetched: FetchedKey): void {
    const groups: ClientKey[] = [];
    try {
      for (const [group, layer] of this.#layers.entries()) groups.push(layer.loadKey(fetched.groups[group]));
    } catch (error) {
      for (const [group, key] of groups.entries()) this.#layers[group].releaseKey(key);
      if (!(error instanceof RangeError)) throw error;
      throw new TacetError(
        "bad_key",
        `the provider's key ${toHex(fetched.id).slice(-8)} is not one: ${error.message}`,
        {
          cause: error,
        },
      );
    }
    const left = this.#layers.map(() => Math.min(fetched.vectorsLeft, this.#vectorsPerKey));
    this.#keys.push({ id: fetched.id, groups, left, users: 0, isDropped: false });
  }

  /** Forgets all keys. */
  dispose(): void {
    this.#closed = true;
    for (const waiting of this.#waiting.splice(0)) {
      waiting.reject(new TacetError("connection_lost", "the connection was closed"));
    }
    for (const key of this.#keys.splice(0)) {
      key.isDropped = true;
      this.#tidy(key);
    }
  }

  /** Keys in hand, for whoever keeps them. */
  get held(): readonly HeldKey[] {
    return this.#keys;
  }

  #leftOf(group: number): number {
    return this.#keys.reduce((sum, key) => sum + key.left[group], 0);
  }

  #isLow(): boolean {
    const enough = FETCH_BELOW * this.#vectorsPerKey;
    return this.#layers.some((_, group) => this.#leftOf(group) < enough);
  }

  #find(group: number, vectors: number): HeldKey | undefined {
    const key = this.#keys.find(({ left }) => left[group] >= vectors);
    if (key === undefined) return undefined;
    key.left[group] -= vectors;
    key.users++;
    // What is left of a key that has nothing for some group is of no use to a pass.
    if (key.left.every((left) => left === 0)) this.drop(key);
    else if (key.left[group] < FETCH_BELOW * this.#vectorsPerKey && this.#isLow()) this.#fetch(1);
    return key;
  }

  /** Remainders that are too short for what waits do not keep a new key out. */
  #makeRoom(): void {
    if (this.#fetching > 0 || this.#keys.length < MOST_KEYS) return;
    const least = (key: HeldKey) => Math.min(...key.left);
    this.drop(this.#keys.reduce((a, b) => (least(b) < least(a) ? b : a)));
  }

  #fetch(count: number): void {
    while (!this.#closed && this.#fetching < count && this.#keys.length + this.#fetching < MOST_KEYS) {
      this.#fetching++;
      this.#source.fetchKey().then(
        (fetched) => this.#arrived(fetched),
        (error: unknown) => this.#failed(error),
      );
    }
  }

  #arrived(fetched: FetchedKey): void {
    this.#fetching--;
    if (this.#closed) return;
    try {
      this.add(fetched);
    } catch (error) {
      this.#failed(error);
      return;
    }
    this.counts.keys++;
    for (const { weights, hint } of fetched.groups) this.counts.bytes += weights.length + hint.length;
    for (const waiting of this.#waiting.splice(0)) {
      const key = this.#find(waiting.group, waiting.vectors);
      if (key) waiting.resolve(key);
      else this.#waiting.push(waiting);
    }
    if (this.#waiting.length === 0) return;
    this.#makeRoom();
    this.#fetch(1);
  }

  #failed(error: unknown): void {
    this.#fetching = Math.max(0, this.#fetching - 1);
    // A later query tries again.
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error);
  }

  /** Frees a dropped key that nobody uses any more. */
  #tidy(key: HeldKey): void {
    if (!key.isDropped || key.users > 0) return;
    for (const [group, held] of key.groups.entries()) this.#layers[group].releaseKey(held);
    (key.groups as ClientKey[]).length = 0;
  }
}
