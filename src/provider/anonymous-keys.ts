/**
 * Keys where nothing is counted: a provider without a store. Each connection is an account of its own, and its keys end
 * with it. The epoch is drawn when the provider starts, so what an earlier process has given away is unknown to it.
 */
import { keyRefused } from "./group-keys.ts";
import { keyIdOf, keyNameOf, LIVE_KEYS } from "./key-ids.ts";
import type { Charged, KeyLedger } from "./key-ledger.ts";

export class AnonymousKeys implements KeyLedger {
  readonly account: string;
  /** 16 hex digits. */
  readonly #epoch: string;
  readonly #groups: number;
  readonly #vectorsPerKey: number;
  /** Vectors asked of each group, by serial; the newest LIVE_KEYS. */
  readonly #asked = new Map<number, Uint32Array>();
  #serial = 0;

  /**
   * @param epoch 16 random hex digits, the provider's
   * @param connection a number that no other connection of the provider has had
   */
  constructor(
    epoch: string,
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
    return keyIdOf({ epoch: this.#epoch, serial });
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
    const name = keyNameOf(id);
    return name?.epoch === this.#epoch ? this.#asked.get(name.serial) : undefined;
  }
}
