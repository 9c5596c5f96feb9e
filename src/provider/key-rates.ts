/**
 * How many keys an account may ask for. A key costs the provider as much as hundreds of answers, and the budget of
 * vectors does not pay for it; what is asked under keys does. A bucket for each account:
 *
 * - 8 keys at first: several programs of one user may begin at once;
 * - one more for each half of `vectorsPerKey` vectors that were charged of the group that is asked most: a client that
 *   uses its keys up never waits, also if each key's last vectors are fewer than its queries have;
 * - one more every 10 s, up to 8: keys may get lost, with a client's memory or its line.
 *
 * In the memory of each provider, like all rates that no budget depends on.
 */
import { TacetError } from "../base/errors.ts";
import { LIVE_KEYS } from "./key-ids.ts";

const AT_FIRST = 8;
const EVERY_MS = 10_000;
/** Accounts that are remembered though they have as many as at first. */
const MOST_IDLE = 10_000;

interface Account {
  keys: number;
  /** When one was last added for the time that had passed. */
  addedAt: number;
  /** Vectors charged, by adapter, then by group. */
  readonly vectors: Map<string, number[]>;
  /** The most of these. */
  busiest: number;
}

export class KeyRates {
  readonly #now: () => number;
  readonly #accounts = new Map<string, Account>();

  /** @param now milliseconds of a clock that never goes back */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Accounts that are remembered. */
  get size(): number {
    return this.#accounts.size;
  }

  /** @throws TacetError too_many_requests if the account has to wait for its next key */
  take(name: string): void {
    const account = this.#find(name);
    this.#pass(account);
    if (account.keys < 1) {
      const seconds = Math.max(1, Math.ceil((account.addedAt + EVERY_MS - this.#now()) / 1000));
      throw new TacetError("too_many_requests", "the account has asked for more keys than it has used", {
        hint: `ask again in ${seconds} s, or when the keys that it has are used up`,
      });
    }
    if (account.keys >= AT_FIRST) account.addedAt = this.#now();
    account.keys--;
    if (this.#accounts.size > MOST_IDLE) this.#forgetIdle();
  }

  /** Vectors of a group were charged that had not been before. */
  charged(name: string, adapter: string, group: number, vectors: number, vectorsPerKey: number): void {
    const account = this.#find(name);
    let groups = account.vectors.get(adapter);
    if (groups === undefined) account.vectors.set(adapter, (groups = []));
    const sum = (groups[group] ?? 0) + vectors;
    groups[group] = sum;
    if (sum <= account.busiest) return;
    const worth = vectorsPerKey / 2;
    const earned = Math.floor(sum / worth) - Math.floor(account.busiest / worth);
    account.busiest = sum;
    // No account has more keys in use.
    account.keys = Math.min(Math.max(account.keys, LIVE_KEYS), account.keys + earned);
  }

  /** The account will not come again. */
  forget(name: string): void {
    this.#accounts.delete(name);
  }

  #find(name: string): Account {
    let account = this.#accounts.get(name);
    if (account === undefined) {
      account = { keys: AT_FIRST, addedAt: this.#now(), vectors: new Map(), busiest: 0 };
      this.#accounts.set(name, account);
    }
    return account;
  }

  /** Adds what the time that has passed is worth. */
  #pass(account: Account): void {
    if (account.keys >= AT_FIRST) return;
    const due = Math.floor((this.#now() - account.addedAt) / EVERY_MS);
    account.keys = Math.min(AT_FIRST, account.keys + due);
    account.addedAt += due * EVERY_MS;
  }

  #forgetIdle(): void {
    for (const [name, account] of this.#accounts) {
      this.#pass(account);
      if (account.keys >= AT_FIRST) this.#accounts.delete(name);
    }
  }
}
