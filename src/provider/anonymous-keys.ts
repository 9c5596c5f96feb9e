/**
 * Keys where nothing is counted: a provider without a store. Each connection is an account of its own, and its keys end
 * with it. The epoch is drawn when the provider starts, so what an earlier process has given away is unknown to it.
 */
import { equalBytes } from "../base/bytes.ts";
import { EPOCH_BYTES, keyRefused } from "./group-keys.ts";
import type { Charged, KeyLedger } from "./key-ledger.ts";
import { KEY_ID_BYTES, LIVE_KEYS } from "./store.ts";

export class AnonymousKeys implements KeyLedger {
  readonly account: string;
  readonly #epoch: Uint8Array;
  readonly #groups: number;
  readonly #vectorsPerKey: number;
  /** Vectors asked of each group, by serial; the newest LIVE_KEYS. */
  readonly #asked = new Map<number, Uint32Array>();
  #serial = 0;

  /**
   * @param epoch EPOCH_BYTES random bytes, the provider's
   * @param connection a number that no other connection of the provider has had
   */
  constructor(
    epoch: Uint8Array,
    connection: number,
    { groups, vectorsPerKey }: { readonly groups: number; readonly vectorsPerKey: number },
  ) {
    this.account = `connection ${connection}`;
    this.#epoch = epoch;
    this.#groups = groups;
    this.#vectorsPerKey = vectorsPerKey;
  }

  async allocate(): Promise<Uint8Array> {
    const serial = ++this.#serial;
    this.#asked.set(serial, new Uint32Array(this.#groups));
    this.#asked.delete(serial - LIVE_KEYS);
    const id = new Uint8Array(KEY_ID_BYTES);
    id.set(this.#epoch);
    new DataView(id.buffer).setBigUint64(EPOCH_BYTES, BigInt(serial));
    return id;
  }

  async left(keyIds: readonly Uint8Array[]): Promise<(number | undefined)[]> {
    return keyIds.map((id) => {
      const asked = this.#find(id);
      return asked && this.#vectorsPerKey - Math.max(...asked);
    });
  }

  /** @throws TacetError unknown_key, worn_key: nothing is counted then */
  charge(group: number, vectors: number, _ciphertext: Uint8Array, keyId: Uint8Array): Charged {
    const asked = this.#find(keyId);
    if (asked === undefined) throw keyRefused("unknown_key");
    if (asked[group] + vectors > this.#vectorsPerKey) throw keyRefused("worn_key");
    asked[group] += vectors;
    return { left: undefined, replayed: false };
  }

  #find(id: Uint8Array): Uint32Array | undefined {
    if (id.length !== KEY_ID_BYTES || !equalBytes(id.subarray(0, EPOCH_BYTES), this.#epoch)) return undefined;
    return this.#asked.get(Number(new DataView(id.buffer, id.byteOffset).getBigUint64(EPOCH_BYTES)));
  }
}
