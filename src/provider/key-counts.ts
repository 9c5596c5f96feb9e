/**
 * What every key has answered (docs/security.md, *Worn keys*): vectors by account, scope and serial. A key answers so
 * many vectors of each group and no more, whatever budgets, windows, restarts and replicas do; so counts only grow, and
 * where some may have been lost an epoch ends, and all keys with it.
 *
 * A key is good while its serial is among the account's newest LIVE_KEYS, and it is of this epoch.
 */
import { keyIdOf, keyNameOf, LIVE_KEYS } from "./key-ids.ts";

export type KeyRefusal = "unknown_key" | "worn_key";

export class KeyCounts {
  #epoch = "";
  /** By account: serial of the newest key. */
  readonly #accounts = new Map<string, number>();
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

  /** Serial of every account's newest key. */
  accounts(): ReadonlyMap<string, number> {
    return this.#accounts;
  }

  /** What the keys of a scope have answered. */
  usedOf(slot: number): ReadonlyMap<number, number> {
    return this.#used.get(slot) ?? new Map();
  }

  setAccount(account: string, highest: number): void {
    this.#accounts.set(account, highest);
  }

  /** The account's next serial; it is given out when it is written down. */
  nextSerial(account: string): number {
    return (this.#accounts.get(account) ?? 0) + 1;
  }

  /** The serial of a key that is good. */
  live(account: string, id: Uint8Array): number | undefined {
    const name = keyNameOf(id);
    const highest = this.#accounts.get(account);
    if (name === undefined || highest === undefined || name.epoch !== this.#epoch) return undefined;
    const { serial } = name;
    return serial <= highest && serial > highest - LIVE_KEYS ? serial : undefined;
  }

  /** Vectors that a good key has left in a scope. */
  left(slot: number | undefined, serial: number, limit: number): number {
    const used = slot === undefined ? 0 : (this.#used.get(slot)?.get(serial) ?? 0);
    return Math.max(0, limit - used);
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

  idOf(serial: number): Uint8Array {
    return keyIdOf({ epoch: this.#epoch, serial });
  }
}
