/**
 * The keys of one adapter: W encrypted under secrets of the provider, each good for some vectors of each group.
 *
 * A query needs a key with vectors left. The next key is fetched when two thirds of the present ones are used up, and
 * several at once where a long prompt will need them. What is fetched, and when, follows from counts alone: never from
 * an activation or an answer (docs/security.md, rule 6). The provider counts too, and its count decides: other processes
 * may have used the same key. A key that it refuses is dropped, and the query goes on with another.
 */
import { equalBytes, toHex } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import type { ClientKey, ClientLayer } from "../pll/client-layer.ts";
import type { FetchedKey, KeyHolder, KeyLeft, KeySource } from "./keys.ts";

/** A key in kernel memory. */
export interface HeldKey {
  readonly id: Uint8Array;
  readonly groups: readonly ClientKey[];
  /** Vectors left, by group. */
  readonly left: number[];
  /** How many keys had come before it. */
  readonly arrival: number;
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
/**
 * Keys in hand or on their way at a time. The groups of a pass use a key one after another, so it must stay until the
 * last has used it: a pass has up to 512 tokens, two keys, and one begins while another ends. Passes of many contexts
 * at a time use more, as far as there is memory for them.
 */
const KEYS_AT_A_TIME = { least: 4, most: 16 };
/** Kernel memory for more than the least number of keys. */
const MOST_BYTES = 512 << 20;

export class KeyRing implements KeyHolder {
  /** Vectors that one query may have at most. */
  readonly vectorsPerKey: number;
  /** Keys in hand or on their way at a time. */
  readonly mostKeys: number;
  readonly #layers: readonly ClientLayer[];
  readonly #source: KeySource;
  readonly #keys: HeldKey[] = [];
  readonly #waiting: Waiting[] = [];
  #arrivals = 0;
  #fetching = 0;
  #closed = false;

  constructor(layers: readonly ClientLayer[], source: KeySource, vectorsPerKey: number) {
    this.#layers = layers;
    this.#source = source;
    this.vectorsPerKey = vectorsPerKey;
    const fitting = Math.floor(MOST_BYTES / layers.reduce((sum, { keyBytes }) => sum + keyBytes, 0));
    const { least, most } = KEYS_AT_A_TIME;
    this.mostKeys = Math.max(least, Math.min(most, fitting));
    source.holdKeys?.(this);
  }

  get heldIds(): readonly Uint8Array[] {
    return this.#keys.map(({ id }) => id);
  }

  /** Keys that have come so far. */
  get arrivals(): number {
    return this.#arrivals;
  }

  /** Takes the keys that were kept, and fetches one if there are few vectors left in them. */
  async restore(): Promise<void> {
    for await (const key of this.#source.keptKeys?.() ?? []) {
      if (this.#closed) return;
      if (this.#keys.length + this.#fetching < this.mostKeys) this.#add(key);
      this.#serve();
    }
    this.expect(1);
  }

  /** Says that a pass over so many tokens begins: its keys are fetched while the first ones are used. */
  expect(tokens: number): void {
    const least = Math.min(...this.#layers.map((_, group) => this.#leftOf(group)));
    const missing = Math.ceil((tokens - least) / this.vectorsPerKey);
    this.#fetch(Math.max(missing, this.#isLow() ? 1 : 0));
  }

  /**
   * A key with `vectors` vectors of the group left, which are used up by this call. Give it back with {@link done}.
   *
   * @throws TacetError what fetching a key fails with; RangeError for more vectors than a key has
   */
  async take(group: number, vectors: number): Promise<HeldKey> {
    if (vectors > this.vectorsPerKey) throw new RangeError(`no key has ${vectors} vectors`);
    const found = this.takeNow(group, vectors);
    if (found) return found;
    if (this.#closed) throw closed();
    return await new Promise<HeldKey>((resolve, reject) => {
      this.#waiting.push({ group, vectors, resolve, reject });
      this.#fetchForWaiting();
    });
  }

  /** As {@link take}, where such a key is in hand; else undefined. */
  takeNow(group: number, vectors: number): HeldKey | undefined {
    const key = this.#keys.find(({ left }) => left[group] >= vectors);
    if (key === undefined) return undefined;
    key.left[group] -= vectors;
    key.users++;
    if (key.left.every((left) => left === 0)) this.drop(key);
    if (key.left[group] < FETCH_BELOW * this.vectorsPerKey && this.#isLow()) this.#fetch(1);
    return key;
  }

  /** A query under the key is answered, or given up. */
  done(key: HeldKey): void {
    key.users--;
    this.#tidy(key);
  }

  /** The key is used up, or the provider does not answer under it any more. */
  drop(key: HeldKey): void {
    if (key.isDropped) return;
    key.isDropped = true;
    this.#keys.splice(this.#keys.indexOf(key), 1);
    this.#source.forgetKey?.(key.id);
    this.#tidy(key);
  }

  correct(left: readonly KeyLeft[]): void {
    for (const key of [...this.#keys]) {
      const said = left.find(({ keyId }) => equalBytes(keyId, key.id));
      if (said === undefined || said.vectorsLeft === 0) {
        this.drop(key);
        continue;
      }
      // Which group others have asked is not known: as many less of each.
      const elsewhere = Math.max(0, Math.min(...key.left) - said.vectorsLeft);
      for (const [group, count] of key.left.entries()) key.left[group] = Math.max(0, count - elsewhere);
    }
  }

  /** Forgets all keys; those under which queries are open, when these end. */
  dispose(): void {
    this.#closed = true;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(closed());
    for (const key of this.#keys.splice(0)) {
      key.isDropped = true;
      this.#tidy(key);
    }
  }

  #leftOf(group: number): number {
    return this.#keys.reduce((sum, key) => sum + key.left[group], 0);
  }

  #isLow(): boolean {
    const enough = FETCH_BELOW * this.vectorsPerKey;
    return this.#layers.some((_, group) => this.#leftOf(group) < enough);
  }

  /** @throws TacetError bad_key if it is none */
  #add(fetched: FetchedKey): void {
    const groups: ClientKey[] = [];
    try {
      for (const [group, layer] of this.#layers.entries()) groups.push(layer.loadKey(fetched.groups[group]));
    } catch (error) {
      for (const [group, key] of groups.entries()) this.#layers[group].releaseKey(key);
      if (!(error instanceof RangeError)) throw error;
      const name = toHex(fetched.id).slice(-8);
      throw new TacetError("bad_key", `the provider's key ${name} is not one: ${error.message}`, {
        cause: error,
      });
    }
    const left = this.#layers.map(() => Math.min(fetched.vectorsLeft, this.vectorsPerKey));
    const arrival = ++this.#arrivals;
    this.#keys.push({ id: fetched.id, groups, left, arrival, users: 0, isDropped: false });
  }

  /** Keys for all that waits: as many as the group that needs most, and room for one at least. */
  #fetchForWaiting(): void {
    if (this.#waiting.length === 0) return;
    const needed = this.#layers.map(() => 0);
    for (const { group, vectors } of this.#waiting) needed[group] += vectors;
    // Remainders that are too short for what waits do not keep a new key out.
    if (this.#fetching === 0 && this.#keys.length >= this.mostKeys) {
      const least = (key: HeldKey) => Math.min(...key.left);
      this.drop(this.#keys.reduce((a, b) => (least(b) < least(a) ? b : a)));
    }
    this.#fetch(Math.ceil(Math.max(...needed) / this.vectorsPerKey));
  }

  /** Has so many keys on their way, as far as there is room. */
  #fetch(count: number): void {
    while (!this.#closed && this.#fetching < count && this.#keys.length + this.#fetching < this.mostKeys) {
      this.#fetching++;
      this.#source.fetchKey().then(
        (fetched) => this.#arrived(fetched),
        (error: unknown) => this.#failed(error),
      );
    }
  }

  #arrived(fetched: FetchedKey): void {
    if (this.#closed) return;
    try {
      this.#add(fetched);
    } catch (error) {
      this.#failed(error);
      return;
    }
    this.#fetching--;
    this.#serve();
    this.#fetchForWaiting();
  }

  /** What waits and can be served, in the order in which it came. */
  #serve(): void {
    for (const waiting of this.#waiting.splice(0)) {
      const key = this.takeNow(waiting.group, waiting.vectors);
      if (key) waiting.resolve(key);
      else this.#waiting.push(waiting);
    }
  }

  #failed(error: unknown): void {
    this.#fetching--;
    // Another key that is on its way may do. If not, what waits fails, and a later query tries again.
    if (this.#fetching > 0) return;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error);
  }

  /** Frees a dropped key that nobody uses any more. */
  #tidy(key: HeldKey): void {
    if (!key.isDropped || key.users > 0) return;
    for (const [group, held] of key.groups.entries()) this.#layers[group].releaseKey(held);
    (key.groups as ClientKey[]).length = 0;
  }
}

function closed(): TacetError {
  return new TacetError("connection_lost", "the connection was closed");
}
