/**
 * What every account has asked of every group, in memory and in a journal: a charge is in the journal before it is
 * granted. Requests charged lately are remembered by digest, so that one that is sent again (its answer was lost, or
 * the provider was) is not charged twice.
 */
import { toHex } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import type { Journal } from "../base/platform.ts";
import { type Budget, type Reservation, type Reserved, windowStart } from "./store.ts";
import { type ChargeRecord, decodeUsageRecord, encodeUsageRecord } from "./usage-records.ts";

/** At least so many of the latest charges are remembered by digest, at most twice as many (some 100 bytes each). */
const REMEMBERED_REQUESTS = 1 << 15;
/** A journal is written anew, as sums, when it has grown by so much: about 400,000 charges. */
const COMPACT_BYTES = 20 << 20;

/** What an account has asked in one scope. */
export interface Counts {
  /** Vectors ever charged. */
  total: number;
  /** Of the window that `window` starts, `windowSeconds` long. */
  windowVectors: number;
  window: number;
  windowSeconds: number;
}

interface Slot extends Counts {
  readonly id: number;
  readonly account: string;
  readonly scope: string;
}

export interface UsageOptions {
  readonly remembered?: number;
  readonly compactBytes?: number;
}

/** One line of `tacet keys list`. */
export interface Usage {
  readonly account: string;
  readonly scope: string;
  readonly total: number;
}

export class UsageLedger {
  readonly #journal: Journal;
  readonly #remembered: number;
  readonly #compactBytes: number;
  readonly #slots: Slot[] = [];
  readonly #byName = new Map<string, Slot>();
  /** Two generations of digests; the older one goes when the younger is full. Values: the charge, to write it anew. */
  #young = new Map<string, ChargeRecord>();
  #old = new Map<string, ChargeRecord>();
  #compactAt: number;

  /**
   * @param records what the journal holds
   * @throws TacetError bad_state if they are not a ledger's
   */
  constructor(journal: Journal, records: readonly Uint8Array[], options: UsageOptions = {}) {
    this.#journal = journal;
    this.#remembered = options.remembered ?? REMEMBERED_REQUESTS;
    this.#compactBytes = options.compactBytes ?? COMPACT_BYTES;
    for (const [i, bytes] of records.entries()) this.#restore(bytes, i);
    this.#compactAt = Math.max(this.#compactBytes, journal.size);
  }

  /** @throws TacetError io_failed if the charge can't be written; nothing is granted then */
  reserve({ account, scope, digest, vectors, budget, nowMs }: Reservation): Reserved {
    const slot = this.#slot(account, scope);
    const request = `${slot.id}:${toHex(digest)}`;
    if (this.#young.has(request) || this.#old.has(request)) {
      return { granted: true, replayed: true, left: leftOf(slot, budget, nowMs) };
    }
    const left = leftOf(slot, budget, nowMs);
    if (left !== undefined && vectors > left) return { granted: false, replayed: false, left };
    const charge: ChargeRecord = {
      type: "charge",
      slot: slot.id,
      vectors,
      window: windowOf(slot, budget, nowMs),
      windowSeconds: budget?.windowSeconds ?? 0,
      digest,
    };
    if (this.#journal.size > this.#compactAt) this.#compact();
    this.#journal.append(encodeUsageRecord(charge));
    this.#apply(slot, charge);
    this.#remember(request, charge);
    return { granted: true, replayed: false, left: left === undefined ? undefined : left - vectors };
  }

  left(account: string, scopes: readonly string[], budget: Budget, nowMs: number): number[] {
    return scopes.map((scope) => {
      const slot = this.#byName.get(nameOf(account, scope));
      return slot === undefined ? budget.vectors : leftOf(slot, budget, nowMs);
    });
  }

  usage(): Usage[] {
    return this.#slots.map(({ account, scope, total }) => ({ account, scope, total }));
  }

  #slot(account: string, scope: string): Slot {
    const known = this.#byName.get(nameOf(account, scope));
    if (known !== undefined) return known;
    const id = this.#slots.length;
    this.#journal.append(encodeUsageRecord({ type: "slot", slot: id, account, scope }));
    return this.#addSlot(id, account, scope);
  }

  #addSlot(id: number, account: string, scope: string): Slot {
    const slot: Slot = { id, account, scope, total: 0, windowVectors: 0, window: 0, windowSeconds: 0 };
    this.#slots.push(slot);
    this.#byName.set(nameOf(account, scope), slot);
    return slot;
  }

  #apply(slot: Slot, { vectors, window, windowSeconds }: ChargeRecord): void {
    slot.total += vectors;
    if (windowSeconds === 0) return;
    if (slot.window !== window || slot.windowSeconds !== windowSeconds) slot.windowVectors = 0;
    slot.window = window;
    slot.windowSeconds = windowSeconds;
    slot.windowVectors += vectors;
  }

  #remember(request: string, charge: ChargeRecord): void {
    this.#young.set(request, charge);
    if (this.#young.size < this.#remembered) return;
    this.#old = this.#young;
    this.#young = new Map();
  }

  #restore(bytes: Uint8Array, i: number): void {
    const record = decodeUsageRecord(bytes);
    const slot = record && this.#slots[record.slot];
    if (record?.type === "slot" && record.slot === this.#slots.length) {
      this.#addSlot(record.slot, record.account, record.scope);
    } else if (record?.type === "sums" && slot) {
      const { total, windowVectors, window, windowSeconds } = record;
      Object.assign(slot, { total, windowVectors, window, windowSeconds });
    } else if (record?.type === "charge" && slot) {
      this.#apply(slot, record);
      this.#remember(`${slot.id}:${toHex(record.digest)}`, record);
    } else {
      throw new TacetError("bad_state", `record ${i} of the usage journal is not one of this version`);
    }
  }

  /** Sums in the place of charges; requests that are remembered stay, as charges of nothing. */
  #compact(): void {
    this.#journal.rewrite(this.#snapshot());
    this.#compactAt = this.#journal.size + this.#compactBytes;
  }

  *#snapshot(): Generator<Uint8Array> {
    for (const { id, account, scope, total, windowVectors, window, windowSeconds } of this.#slots) {
      yield encodeUsageRecord({ type: "slot", slot: id, account, scope });
      yield encodeUsageRecord({ type: "sums", slot: id, total, windowVectors, window, windowSeconds });
    }
    for (const generation of [this.#old, this.#young]) {
      // Without a window, which would begin anew.
      for (const charge of generation.values()) {
        yield encodeUsageRecord({ ...charge, vectors: 0, window: 0, windowSeconds: 0 });
      }
    }
  }
}

const nameOf = (account: string, scope: string): string => `${account}\n${scope}`;

/** The window that a charge falls into. A clock that is set back a little does not open the last window again. */
function windowOf(slot: Counts, budget: Budget | undefined, nowMs: number): number {
  if (budget === undefined || budget.windowSeconds === 0) return 0;
  const { windowSeconds } = budget;
  const now = windowStart(nowMs, windowSeconds);
  const back = slot.windowSeconds === windowSeconds ? slot.window - now : 0;
  return back > 0 && back <= 1000 * windowSeconds ? slot.window : now;
}

/** Vectors that a budget leaves; undefined without one. */
export function leftOf(slot: Counts, budget: Budget, nowMs: number): number;
export function leftOf(slot: Counts, budget: Budget | undefined, nowMs: number): number | undefined;
export function leftOf(slot: Counts, budget: Budget | undefined, nowMs: number): number | undefined {
  if (budget === undefined) return undefined;
  if (budget.windowSeconds === 0) return Math.max(0, budget.vectors - slot.total);
  const isSame = slot.windowSeconds === budget.windowSeconds && slot.window === windowOf(slot, budget, nowMs);
  return Math.max(0, budget.vectors - (isSame ? slot.windowVectors : 0));
}
