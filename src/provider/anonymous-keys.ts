/**
 * Keys where nothing is counted: a provider without a store. Each connection is a separate account, and its keys end
 * with it. The epoch is drawn when the provider starts, so what an earlier process has given away is unknown to it.
 */
import { keyRefused } from "./group-keys.ts";
import { KeyCounts } from "./key-counts.ts";
import type { Charged, KeyLedger } from "./key-ledger.ts";

export class AnonymousKeys implements KeyLedger {
  readonly account: string;
  /** Of this one account; a scope is a group. */
  readonly #counts = new KeyCounts();
  readonly #groups: number;
  readonly #vectorsPerKey: number;

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
    this.#counts.begin(epoch);
    this.#groups = groups;
    this.#vectorsPerKey = vectorsPerKey;
  }

  async allocate(): Promise<Uint8Array> {
    const serial = this.#counts.nextSerial(this.account);
    this.#counts.setAccount(this.account, serial);
    return this.#counts.idOf(serial);
  }

  async left(keyIds: readonly Uint8Array[]): Promise<(number | undefined)[]> {
    return keyIds.map((id) => {
      const serial = this.#counts.live(this.account, id);
      if (serial === undefined) return undefined;
      const groups = Array.from({ length: this.#groups }, (_, group) => this.#left(group, serial));
      return Math.min(...groups);
    });
  }

  /** @throws TacetError unknown_key, worn_key: nothing is counted then */
  charge(group: number, vectors: number, _ciphertext: Uint8Array, keyId: Uint8Array): Charged {
    const serial = this.#counts.live(this.account, keyId);
    if (serial === undefined) throw keyRefused("unknown_key");
    if (vectors > this.#left(group, serial)) throw keyRefused("worn_key");
    this.#counts.add(group, serial, vectors);
    return { left: undefined, replayed: false, keyLeft: this.#left(group, serial) };
  }

  #left(group: number, serial: number): number {
    return this.#counts.left(group, serial, this.#vectorsPerKey);
  }
}
