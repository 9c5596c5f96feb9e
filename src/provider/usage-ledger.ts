/**
 * What every account has asked of every group (asked-counts.ts has the model), in memory and in a journal: a charge is
 * in the journal before it is granted. Requests charged lately are remembered by digest, so that one that is sent
 * again (its answer was lost, or the provider was) is not charged twice.
 */
import { TacetError } from "../base/errors.ts";
import type { Journal } from "../base/platform.ts";
import { AskedCounts, endOf } from "./asked-counts.ts";
import { KeyCounts, type KeyRefusal } from "./key-counts.ts";
import { RecentRequests } from "./recent-requests.ts";
import type { Grant, Reservation, Reserved } from "./store.ts";
import {
  decodeUsageRecord,
  encodeUsageRecord,
  type UsageRecord,
  type WrittenRecord,
} from "./usage-records.ts";

/** At least so many of the latest charges are remembered by digest, at most twice as many: 2.5 MiB of tables. */
const REMEMBERED_REQUESTS = 1 << 15;
/** A journal is rewritten, as counts, when it has grown by so much: about 500,000 charges. */
const COMPACT_BYTES = 20 << 20;

interface Slot {
  readonly id: number;
  readonly account: string;
  readonly scope: string;
  counts: AskedCounts;
}

export interface UsageOptions {
  readonly remembered?: number;
  readonly compactBytes?: number;
  /** Milliseconds since 1970: what version 0.1.0 wrote without a time counts as asked then. Default: the clock's. */
  readonly nowMs?: number;
}

/** What an account has asked in one scope. */
export interface Usage {
  readonly account: string;
  readonly scope: string;
  /** Vectors ever charged. */
  readonly total: number;
  readonly counts: AskedCounts;
}

export class UsageLedger {
  readonly #journal: Journal;
  readonly #compactBytes: number;
  readonly #slots: Slot[] = [];
  readonly #byName = new Map<string, Slot>();
  readonly #recent: RecentRequests;
  readonly #keys = new KeyCounts();
  #compactAt: number;
  #hasUndated = false;
  #run: string | undefined;

  /**
   * @param records what the journal holds
   * @throws TacetError bad_state if they are not a ledger's
   */
  constructor(journal: Journal, records: readonly Uint8Array[], options: UsageOptions = {}) {
    this.#journal = journal;
    this.#recent = new RecentRequests(options.remembered ?? REMEMBERED_REQUESTS);
    this.#compactBytes = options.compactBytes ?? COMPACT_BYTES;
    const nowMs = options.nowMs ?? Date.now();
    for (const [i, bytes] of records.entries()) this.#restore(bytes, i, nowMs);
    this.#compactAt = Math.max(this.#compactBytes, journal.size);
  }

  /**
   * Gives what version 0.1.0 wrote its time, for good: else it would count as asked lately after each restart.
   *
   * @throws TacetError io_failed
   */
  writeTimes(): void {
    if (this.#hasUndated) this.#compact();
    this.#hasUndated = false;
  }

  /** Name of the run that wrote last; undefined: none has said it. */
  get run(): string | undefined {
    return this.#run;
  }

  /** Begins a run. @throws TacetError io_failed */
  beginRun(run: string): void {
    this.#append({ type: "run", slot: 0, run });
    this.#run = run;
  }

  /**
   * Begins an epoch: no key that was given out before is good any more, and no serial of it means one.
   *
   * @param epoch 16 hex digits that were never used
   * @throws TacetError io_failed
   */
  beginEpoch(epoch: string): void {
    this.#append({ type: "epoch", slot: 0, epoch });
    this.#keys.begin(epoch);
  }

  /** The id of a new key. It may be given out when the journal is flushed. @throws TacetError io_failed */
  allocateKey(account: string): Uint8Array {
    const highest = this.#keys.nextSerial(account);
    this.#append({ type: "keys", slot: 0, account, highest });
    this.#keys.setAccount(account, highest);
    return this.#keys.idOf(highest);
  }

  /** Vectors left of a key in the scope that has fewest; undefined: it may not be used. */
  keyLeft(account: string, keyId: Uint8Array, scopes: readonly string[], limit: number): number | undefined {
    const serial = this.#keys.live(account, keyId);
    if (serial === undefined) return undefined;
    const slots = scopes.map((scope) => this.#byName.get(nameOf(account, scope))?.id);
    return Math.min(limit, ...slots.map((slot) => this.#keys.left(slot, serial, limit)));
  }

  /** Why the key of a request does not answer it; undefined: it does, or the request was charged before. */
  keyRefusal({ account, scope, digest, vectors, keyUse }: Reservation): KeyRefusal | undefined {
    if (keyUse === undefined) return undefined;
    const serial = this.#keys.live(account, keyUse.keyId);
    if (serial === undefined) return "unknown_key";
    const slot = this.#byName.get(nameOf(account, scope))?.id;
    if (slot !== undefined && this.#recent.has(slot, digest)) return undefined;
    return vectors > this.#keys.left(slot, serial, keyUse.limit) ? "worn_key" : undefined;
  }

  /**
   * @param budgets all that hold for the account
   * @throws TacetError io_failed if the charge can't be written; nothing is granted then
   */
  reserve(reservation: Reservation, budgets: readonly Grant[]): Reserved {
    // Before anything is written: whoever names keys at random leaves nothing here.
    const keyRefused = this.keyRefusal(reservation);
    if (keyRefused !== undefined) {
      return { granted: false, replayed: false, remaining: undefined, keyRefused };
    }
    const { account, scope, digest, vectors, nowMs, keyUse } = reservation;
    const serial = keyUse && this.#keys.live(account, keyUse.keyId);
    const { id, counts } = this.#slot(account, scope);
    const remaining = counts.remaining(budgets, nowMs);
    const keyLeft = () =>
      keyUse === undefined || serial === undefined
        ? {}
        : { keyLeft: this.#keys.left(id, serial, keyUse.limit) };
    if (this.#recent.has(id, digest)) return { granted: true, replayed: true, remaining, ...keyLeft() };
    if (remaining !== undefined && vectors > remaining.left) {
      return { granted: false, replayed: false, remaining };
    }
    const time = counts.timeOf(nowMs);
    if (this.#journal.size > this.#compactAt) this.#compact();
    if (counts.mark(budgets, nowMs)) this.#append(countsRecord(id, counts));
    const charge = { slot: id, vectors, time, digest };
    this.#append(
      serial === undefined ? { type: "charge", ...charge } : { type: "key-charge", ...charge, serial },
    );
    if (serial !== undefined) this.#keys.add(id, serial, vectors);
    counts.add(vectors, time);
    this.#recent.add(id, digest);
    const left = remaining && { ...remaining, left: remaining.left - vectors };
    return { granted: true, replayed: false, remaining: left, ...keyLeft() };
  }

  /** What an account has asked in a scope; nothing yet: counts of 0. */
  counts(account: string, scope: string): AskedCounts {
    return this.#byName.get(nameOf(account, scope))?.counts ?? new AskedCounts();
  }

  usage(): Usage[] {
    return this.#slots.map(({ account, scope, counts }) => ({
      account,
      scope,
      total: counts.total,
      counts,
    }));
  }

  #slot(account: string, scope: string): Slot {
    const known = this.#byName.get(nameOf(account, scope));
    if (known !== undefined) return known;
    const id = this.#slots.length;
    this.#append({ type: "slot", slot: id, account, scope });
    return this.#addSlot(id, account, scope);
  }

  #addSlot(id: number, account: string, scope: string): Slot {
    const slot: Slot = { id, account, scope, counts: new AskedCounts() };
    this.#slots.push(slot);
    this.#byName.set(nameOf(account, scope), slot);
    return slot;
  }

  #append(record: WrittenRecord): void {
    this.#journal.append(encodeUsageRecord(record));
  }

  #restore(bytes: Uint8Array, i: number, nowMs: number): void {
    const record = decodeUsageRecord(bytes);
    if (record !== undefined && this.#restoreKeys(record)) return;
    if (record?.type === "slot" && record.slot === this.#slots.length) {
      this.#addSlot(record.slot, record.account, record.scope);
      return;
    }
    const slot = record && this.#slots[record.slot];
    if (slot === undefined) throw damaged(i);
    switch (record?.type) {
      case "key-charge":
        this.#keys.add(slot.id, record.serial, record.vectors);
        slot.counts.add(record.vectors, record.time);
        this.#recent.add(slot.id, record.digest);
        break;
      case "key-counts":
        for (const [serial, vectors] of record.used) this.#keys.add(slot.id, serial, vectors);
        break;
      case "charge":
        // One that only remembers its request is no charge.
        if (record.vectors > 0) slot.counts.add(record.vectors, record.time);
        this.#recent.add(slot.id, record.digest);
        break;
      case "counts":
        slot.counts = new AskedCounts(record.total, record.latest, record.marks);
        break;
      case "undated-charge": {
        const { vectors, window, windowSeconds } = record;
        const latest = windowSeconds === 0 ? nowMs : endOf(window, windowSeconds, nowMs);
        if (vectors > 0) slot.counts.add(vectors, slot.counts.timeOf(latest));
        this.#recent.add(slot.id, record.digest);
        this.#hasUndated = true;
        break;
      }
      case "undated-sums": {
        const { total, windowVectors, window, windowSeconds } = record;
        slot.counts = AskedCounts.fromVersion1(total, windowVectors, window, windowSeconds, nowMs);
        this.#hasUndated = true;
        break;
      }
      default:
        throw damaged(i);
    }
  }

  /** Whether a record is one of all keys, and has been read. */
  #restoreKeys(record: UsageRecord): boolean {
    switch (record.type) {
      case "epoch":
        this.#keys.begin(record.epoch);
        return true;
      case "run":
        this.#run = record.run;
        return true;
      case "keys":
        this.#keys.setAccount(record.account, record.highest);
        return true;
      default:
        return false;
    }
  }

  /** Counts instead of charges; requests that are remembered stay, as charges of nothing. */
  #compact(): void {
    this.#journal.rewrite(this.#snapshot());
    this.#compactAt = this.#journal.size + this.#compactBytes;
  }

  *#snapshot(): Generator<Uint8Array> {
    if (this.#run !== undefined) yield encodeUsageRecord({ type: "run", slot: 0, run: this.#run });
    if (this.#keys.epoch !== "") {
      yield encodeUsageRecord({ type: "epoch", slot: 0, epoch: this.#keys.epoch });
      for (const [account, highest] of this.#keys.accounts()) {
        yield encodeUsageRecord({ type: "keys", slot: 0, account, highest });
      }
    }
    for (const { id, account, scope, counts } of this.#slots) {
      yield encodeUsageRecord({ type: "slot", slot: id, account, scope });
      yield encodeUsageRecord(countsRecord(id, counts));
      const used = [...this.#keys.usedOf(id)];
      if (used.length > 0) yield encodeUsageRecord({ type: "key-counts", slot: id, used });
    }
    for (const { slot, digest } of this.#recent.entries()) {
      yield encodeUsageRecord({ type: "charge", slot, vectors: 0, time: 0, digest });
    }
  }
}

const nameOf = (account: string, scope: string): string => `${account}\n${scope}`;

function countsRecord(slot: number, { total, latest, marks }: AskedCounts): WrittenRecord {
  return { type: "counts", slot, total, latest, marks };
}

function damaged(i: number): TacetError {
  return new TacetError("bad_state", `record ${i} of the usage journal is not one of this version`);
}
