/**
 * What every key has answered (docs/security.md, *Worn keys*): vectors by account, scope and serial. A key answers so
 * many vectors of each group and no more, whatever budgets, windows, restarts and replicas do; so counts only grow, and
 * what may have been lost counts as used up.
 *
 * A key is good while its serial is above the account's floor, among its newest LIVE_KEYS, and of this epoch.
 */
import { KEY_ID_BYTES, type KeyName, keyIdOf, keyNameOf, LIVE_KEYS } from "./key-ids.ts";
import type { KeyUse } from "./store.ts";

export interface AccountKeys {
  /** Serial of the newest key; 0: none. */
  highest: number;
  /** Keys up to this one are worn out. */
  floor: number;
}

export type KeyRefusal = "unknown_key" | "worn_key";

export class KeyCounts {
  #epoch = "";
  readonly #accounts = new Map<string, AccountKeys>();
  /** By scope slot: serial → vectors. */
  readonly #used = new Map<number, Map<number, number>>();

  get epoch(): string {
    return this.#epoch;
  }

  /** Begins an epoch: no key of another one is good. */
  begin(epoch: string): void {
    this.#epoch = epoch;
    this.#accounts.clear();
    this.#used.clear();
  }

  accounts(): Iterable<[account: string, keys: Readonly<AccountKeys>]> {
    return this.#accounts;
  }

  /** What the keys of a scope have answered. */
  usedOf(slot: number): ReadonlyMap<number, number> {
    return this.#used.get(slot) ?? new Map();
  }

  setAccount(account: string, keys: AccountKeys): void {
    this.#accounts.set(account, keys);
  }

  /** The account's next serial; it is given out when it is written down. */
  nextSerial(account: string): number {
    return (this.#accounts.get(account)?.highest ?? 0) + 1;
  }

  /** The serial of a key that is good. */
  live(account: string, id: Uint8Array): number | undefined {
    const name = id.length === KEY_ID_BYTES ? keyNameOf(id) : undefined;
    const keys = this.#accounts.get(account);
    if (name === undefined || keys === undefined || name.epoch !== this.#epoch) return undefined;
    const { serial } = name;
    return serial > keys.floor && serial <= keys.highest && serial > keys.highest - LIVE_KEYS
      ? serial
      : undefined;
  }

  /** Vectors that a good key has left in a scope. */
  left(slot: number | undefined, serial: number, limit: number): number {
    const used = slot === undefined ? 0 : (this.#used.get(slot)?.get(serial) ?? 0);
    return Math.max(0, limit - used);
  }

  /** Why a key does not answer so many vectors; undefined: it does. */
  refusal(account: string, slot: number, { keyId, limit }: KeyUse, vectors: number): KeyRefusal | undefined {
    const serial = this.live(account, keyId);
    if (serial === undefined) return "unknown_key";
    return vectors > this.left(slot, serial, limit) ? "worn_key" : undefined;
  }

  add(slot: number, serial: number, vectors: number): void {
    let used = this.#used.get(slot);
    if (used === undefined) this.#used.set(slot, (used = new Map()));
    used.set(serial, (used.get(serial) ?? 0) + vectors);
    // What is refused anyway need not be counted. A little slack: serials of a scope need not come in order.
    if (used.size <= 2 * LIVE_KEYS) return;
    const oldest = [...used.keys()]
      .sort((a, b) => b - a)
      .slice(0, LIVE_KEYS)
      .at(-1)!;
    for (const each of used.keys()) if (each < oldest) used.delete(each);
  }

  /** All keys that were ever given out are worn out from now on. */
  wearAll(): void {
    for (const keys of this.#accounts.values()) keys.floor = keys.highest;
  }

  nameOf(serial: number): KeyName {
    return { epoch: this.#epoch, serial };
  }

  idOf(serial: number): Uint8Array {
    return keyIdOf(this.nameOf(serial));
  }
}
