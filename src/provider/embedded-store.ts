/** The store of a provider that runs alone: keys in memory, counts in a journal that no other provider writes. */
import type { Journal } from "../base/platform.ts";
import { budgetsOf, keysByAccount, unauthorized } from "./api-keys.ts";
import { newEpoch } from "./key-ids.ts";
import { LONGEST_WAIT_MS, RateLimiter } from "./rate-limiter.ts";
import {
  type KeyRecord,
  leastOf,
  type ProviderStore,
  type Remaining,
  type Reservation,
  type Reserved,
} from "./store.ts";
import { UsageLedger, type UsageOptions } from "./usage-ledger.ts";

export interface EmbeddedStoreOptions extends UsageOptions {
  /**
   * When a charge is durable enough for its answer to leave. "process": it is in the kernel, and survives this
   * process; a loss of power may forget what was not flushed, about a second's charges. "power": it is on the disk;
   * answers wait for the flush, which many share.
   */
  readonly durability?: "process" | "power";
  /** Name of this run. Default: "". */
  readonly run?: string;
  /**
   * Whether the journal is known to be as the run that wrote last has left it, so that its keys may go on. Else some of
   * what they have answered may be missing in it (a backup was put back, the power failed), and they end. Default: it is
   * not.
   */
  readonly isUntouchedSince?: (run: string) => boolean;
}

const FLUSH_MS = 1_000;

export class EmbeddedStore implements ProviderStore {
  onKeysChanged: () => void = () => {};
  /** Something that failed in the background. */
  onFault: (error: unknown) => void = () => {};
  readonly #journal: Journal;
  readonly #ledger: UsageLedger;
  readonly #waits: boolean;
  readonly #rates = new RateLimiter();
  #keys = new Map<string, KeyRecord>();
  #byAccount = new Map<string, KeyRecord[]>();
  #flushTimer: unknown;
  #closed = false;

  /**
   * @param records what the journal holds
   * @throws TacetError bad_state if they are not a ledger's; io_failed
   */
  constructor(journal: Journal, records: readonly Uint8Array[], options: EmbeddedStoreOptions = {}) {
    this.#journal = journal;
    this.#ledger = new UsageLedger(journal, records, options);
    this.#ledger.writeTimes();
    const before = this.#ledger.run;
    if (before === undefined || options.isUntouchedSince?.(before) !== true) {
      this.#ledger.beginEpoch(newEpoch());
    }
    this.#ledger.beginRun(options.run ?? "");
    this.#waits = options.durability === "power";
  }

  setKeys(records: readonly KeyRecord[]): void {
    this.#keys = new Map(records.map((record) => [record.hash, record]));
    this.#byAccount = keysByAccount(records);
    this.onKeysChanged();
  }

  keys(): KeyRecord[] {
    return [...this.#keys.values()];
  }

  async findKey(hash: string): Promise<KeyRecord | undefined> {
    return this.#keys.get(hash);
  }

  async reserve(reservation: Reservation): Promise<Reserved> {
    const { account, adapter, key, vectors, nowMs } = reservation;
    if (key !== undefined && this.#keys.get(key.hash)?.revokedAt !== null) throw unauthorized();
    const keyRefused = this.#ledger.keyRefusal(reservation);
    // Before its rate is taken: it will be asked again under another key.
    if (keyRefused !== undefined) {
      return { granted: false, replayed: false, remaining: undefined, keyRefused };
    }
    const rate = key?.vectorsPerSecond ?? null;
    const waitMs =
      rate === null || key === undefined
        ? 0
        : this.#rates.take(key.id, rate, vectors, nowMs, LONGEST_WAIT_MS);
    const charged = this.#ledger.reserve(reservation, this.#budgets(account, adapter, nowMs));
    const reserved = waitMs > 0 && charged.granted ? { ...charged, waitMs } : charged;
    // A replay too: the charge that it repeats may still be on its way to the disk.
    if (this.#waits && reserved.granted) await this.#journal.flushed();
    else this.#flushTimer ??= setTimeout(() => this.#flush(), FLUSH_MS);
    return reserved;
  }

  async remaining(
    account: string,
    adapter: string,
    scopes: readonly string[],
    nowMs: number,
  ): Promise<Remaining | undefined> {
    const budgets = this.#budgets(account, adapter, nowMs);
    return leastOf(scopes.map((scope) => this.#ledger.counts(account, scope).remaining(budgets, nowMs)));
  }

  async allocateKey(account: string): Promise<Uint8Array> {
    const id = this.#ledger.allocateKey(account);
    // Else a loss of power could give the serial to another key, with no count.
    await this.#journal.flushed();
    return id;
  }

  async keysLeft(
    account: string,
    keyIds: readonly Uint8Array[],
    scopes: readonly string[],
    limit: number,
  ): Promise<(number | undefined)[]> {
    return keyIds.map((keyId) => this.#ledger.keyLeft(account, keyId, scopes, limit));
  }

  check(): Promise<void> {
    return this.#journal.flushed();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#flushTimer);
    this.#journal.close();
  }

  #budgets(account: string, adapter: string, nowMs: number) {
    return budgetsOf(this.#byAccount.get(account) ?? [], adapter, nowMs);
  }

  #flush(): void {
    this.#flushTimer = undefined;
    if (this.#closed) return;
    this.#journal.flushed().catch((error: unknown) => this.onFault(error));
  }
}
