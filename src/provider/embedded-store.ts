/** The store of a provider that runs alone: keys in memory, counts in a journal of its own. Answers at once. */
import type { Journal } from "../base/platform.ts";
import { LONGEST_WAIT_MS, RateLimiter } from "./rate-limiter.ts";
import type { Budget, KeyRecord, ProviderStore, Reservation, Reserved, Soon } from "./store.ts";
import { UsageLedger, type UsageOptions } from "./usage-ledger.ts";

export interface EmbeddedStoreOptions extends UsageOptions {
  /**
   * When a charge is durable enough for its answer to leave. "process": it is in the kernel, and survives this
   * process; a loss of power may forget what was not flushed, about a second's charges. "power": it is on the disk;
   * answers wait for the flush, which many share.
   */
  readonly durability?: "process" | "power";
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
  #flushTimer: unknown;
  #closed = false;

  /** @param records what the journal holds */
  constructor(journal: Journal, records: readonly Uint8Array[], options: EmbeddedStoreOptions = {}) {
    this.#journal = journal;
    this.#ledger = new UsageLedger(journal, records, options);
    this.#waits = options.durability === "power";
  }

  setKeys(records: readonly KeyRecord[]): void {
    this.#keys = new Map(records.map((record) => [record.hash, record]));
    this.onKeysChanged();
  }

  keys(): KeyRecord[] {
    return [...this.#keys.values()];
  }

  findKey(hash: string): KeyRecord | undefined {
    return this.#keys.get(hash);
  }

  reserve(reservation: Reservation): Soon<Reserved> {
    const { key, vectors, nowMs } = reservation;
    const rate = key?.vectorsPerSecond ?? null;
    const waitMs =
      rate === null || key === undefined
        ? 0
        : this.#rates.take(key.id, rate, vectors, nowMs, LONGEST_WAIT_MS);
    const charged = this.#ledger.reserve(reservation);
    const reserved = waitMs === 0 ? charged : { ...charged, waitMs };
    // A replay too: the charge that it repeats may still be on its way to the disk.
    if (this.#waits && reserved.granted) return this.#journal.flushed().then(() => reserved);
    this.#flushTimer ??= setTimeout(() => this.#flush(), FLUSH_MS);
    return reserved;
  }

  left(account: string, scopes: readonly string[], budget: Budget, nowMs: number): number[] {
    return this.#ledger.left(account, scopes, budget, nowMs);
  }

  check(): Promise<void> {
    return this.#journal.flushed();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#flushTimer);
    this.#journal.close();
  }

  #flush(): void {
    this.#flushTimer = undefined;
    if (this.#closed) return;
    this.#journal.flushed().catch((error: unknown) => this.onFault(error));
  }
}
