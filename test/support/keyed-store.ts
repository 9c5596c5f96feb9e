/**
 * An embedded store with keys of the private layer, which are in memory: as long-lived as the journal that they go with.
 * Stands in for the store's own until that counts keys; then keyedStore is `new EmbeddedStore(journal, journal.records)`.
 */
import { EmbeddedStore } from "../../src/provider/embedded-store.ts";
import {
  KEY_ID_BYTES,
  LIVE_KEYS,
  type ProviderStore,
  type Reservation,
  type Reserved,
} from "../../src/provider/store.ts";
import { systemRandom } from "../../src/ring/random-source.ts";
import type { MemoryJournal } from "./memory-journal.ts";

class KeyMemory {
  readonly epoch = new Uint8Array(8);
  readonly serials = new Map<string, number>();
  /** account, scope and serial → vectors. */
  readonly asked = new Map<string, number>();

  constructor() {
    systemRandom(this.epoch);
  }
}

const memoryOf = new WeakMap<MemoryJournal, KeyMemory>();

/** The store of a journal, as it is when a provider starts. */
export function keyedStore(journal: MemoryJournal): EmbeddedStore & ProviderStore {
  return new KeyedStore(journal);
}

class KeyedStore extends EmbeddedStore {
  readonly #keys: KeyMemory;

  constructor(journal: MemoryJournal) {
    super(journal, journal.records);
    this.#keys = memoryOf.get(journal) ?? new KeyMemory();
    memoryOf.set(journal, this.#keys);
  }

  async allocateKey(account: string): Promise<Uint8Array> {
    const serial = (this.#keys.serials.get(account) ?? 0) + 1;
    this.#keys.serials.set(account, serial);
    const id = new Uint8Array(KEY_ID_BYTES);
    id.set(this.#keys.epoch);
    new DataView(id.buffer).setBigUint64(8, BigInt(serial));
    return id;
  }

  async keysLeft(
    account: string,
    keyIds: readonly Uint8Array[],
    scopes: readonly string[],
    limit: number,
  ): Promise<(number | undefined)[]> {
    return keyIds.map((id) => {
      const serial = this.#serial(account, id);
      if (serial === undefined) return undefined;
      return limit - Math.max(...scopes.map((scope) => this.#asked(account, scope, serial)));
    });
  }

  async keyIsLive(account: string, keyId: Uint8Array): Promise<boolean> {
    return this.#serial(account, keyId) !== undefined;
  }

  override async reserve({ keyUse, ...rest }: Reservation): Promise<Reserved> {
    if (keyUse === undefined) return super.reserve(rest);
    const { account, scope, vectors } = rest;
    const refused = (keyRefused: "unknown_key" | "worn_key"): Reserved => ({
      ...{ granted: false, replayed: false, remaining: undefined },
      keyRefused,
    });
    const serial = this.#serial(account, keyUse.keyId);
    if (serial === undefined) return refused("unknown_key");
    const asked = this.#asked(account, scope, serial);
    if (asked + vectors > keyUse.limit) return refused("worn_key");
    const count = (change: number) => {
      const name = JSON.stringify([account, scope, serial]);
      this.#keys.asked.set(name, (this.#keys.asked.get(name) ?? 0) + change);
    };
    count(vectors);
    const reserved = await super.reserve(rest);
    if (!reserved.granted || reserved.replayed) count(-vectors);
    return reserved;
  }

  #asked(account: string, scope: string, serial: number): number {
    return this.#keys.asked.get(JSON.stringify([account, scope, serial])) ?? 0;
  }

  #serial(account: string, id: Uint8Array): number | undefined {
    if (id.length !== KEY_ID_BYTES || this.#keys.epoch.some((byte, i) => byte !== id[i])) return undefined;
    const serial = Number(new DataView(id.buffer, id.byteOffset).getBigUint64(8));
    const last = this.#keys.serials.get(account) ?? 0;
    return serial >= 1 && serial <= last && serial > last - LIVE_KEYS ? serial : undefined;
  }
}
