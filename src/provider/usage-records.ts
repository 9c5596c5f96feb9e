/**
 * Records of the usage journal, little-endian:
 *
 *     slot        1  u32 slot  u16 length  account (UTF-8)  scope (UTF-8, the rest)
 *     charge      4  u32 slot  u32 vectors  f64 time  16 bytes digest
 *     counts      5  u32 slot  f64 total  f64 latest  marks, each u32 windowSeconds  f64 start  f64 before
 *
 *     epoch       6  u32 0     8 bytes epoch
 *     run        10  u32 0     u16 0  name of a run of a provider (UTF-8, the rest)
 *     keys        7  u32 0     f64 highest  account (UTF-8, the rest)
 *     key charge  8  u32 slot  u32 vectors  f64 time  16 bytes digest  f64 serial
 *     key counts  9  u32 slot  pairs, each f64 serial  f64 vectors
 *
 * A charge of 0 vectors only remembers its request. Version 0.1.0 wrote charges and sums without times; they are read
 * and not written:
 *
 *     charge  2  u32 slot  u32 vectors  f64 window  u32 windowSeconds  16 bytes digest
 *     sums    3  u32 slot  f64 total  f64 windowVectors  f64 window  u32 windowSeconds
 */
import { concatBytes, fromHex, toHex, utf8 } from "../base/bytes.ts";
import { MARKED_WINDOWS, type Mark, MOST_MARKS } from "./asked-counts.ts";

/** Bytes of a request's digest: nobody finds two requests with one in 2^64 tries. */
export const REQUEST_DIGEST_BYTES = 16;

export interface SlotRecord {
  readonly type: "slot";
  readonly slot: number;
  readonly account: string;
  readonly scope: string;
}

export interface ChargeRecord {
  readonly type: "charge";
  readonly slot: number;
  readonly vectors: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly digest: Uint8Array;
}

export interface CountsRecord {
  readonly type: "counts";
  readonly slot: number;
  readonly total: number;
  readonly latest: number;
  readonly marks: readonly Mark[];
}

/** Begins the counts of keys again, or goes on with those before it where the epoch is the same. */
export interface EpochRecord {
  readonly type: "epoch";
  readonly slot: 0;
  /** 16 hex digits. */
  readonly epoch: string;
}

/** A run of a provider begins. */
export interface RunRecord {
  readonly type: "run";
  readonly slot: 0;
  readonly run: string;
}

export interface KeysRecord {
  readonly type: "keys";
  readonly slot: 0;
  readonly account: string;
  /** Serial of its newest key. */
  readonly highest: number;
}

/** A charge under a key. */
export interface KeyChargeRecord {
  readonly type: "key-charge";
  readonly slot: number;
  readonly vectors: number;
  readonly time: number;
  readonly digest: Uint8Array;
  readonly serial: number;
}

export interface KeyCountsRecord {
  readonly type: "key-counts";
  readonly slot: number;
  readonly used: readonly (readonly [serial: number, vectors: number])[];
}

/** A charge of version 0.1.0: it happened in a window, or at any time (windowSeconds = 0). */
export interface UndatedCharge {
  readonly type: "undated-charge";
  readonly slot: number;
  readonly vectors: number;
  readonly window: number;
  readonly windowSeconds: number;
  readonly digest: Uint8Array;
}

export interface UndatedSums {
  readonly type: "undated-sums";
  readonly slot: number;
  readonly total: number;
  readonly windowVectors: number;
  readonly window: number;
  readonly windowSeconds: number;
}

export type WrittenRecord =
  | SlotRecord
  | ChargeRecord
  | CountsRecord
  | EpochRecord
  | RunRecord
  | KeysRecord
  | KeyChargeRecord
  | KeyCountsRecord;
export type UsageRecord = WrittenRecord | UndatedCharge | UndatedSums;

const TYPES = {
  slot: 1,
  undatedCharge: 2,
  undatedSums: 3,
  charge: 4,
  counts: 5,
  epoch: 6,
  keys: 7,
  keyCharge: 8,
  keyCounts: 9,
  run: 10,
} as const;
const UNDATED_CHARGE_BYTES = 21 + REQUEST_DIGEST_BYTES;
const UNDATED_SUMS_BYTES = 33;
const CHARGE_BYTES = 17 + REQUEST_DIGEST_BYTES;
const COUNTS_BYTES = 21;
const MARK_BYTES = 20;
const EPOCH_AT = 5;
const EPOCH_RECORD_BYTES = EPOCH_AT + 8;
const ACCOUNT_AT = 13;
const RUN_AT = 7;
const KEY_CHARGE_BYTES = CHARGE_BYTES + 8;
const PAIR_BYTES = 16;

export function encodeUsageRecord(record: WrittenRecord): Uint8Array {
  switch (record.type) {
    case "slot": {
      const account = utf8(record.account);
      const { bytes, view } = start(TYPES.slot, record.slot, 7);
      view.setUint16(5, account.length, true);
      return concatBytes(bytes, account, utf8(record.scope));
    }
    case "charge": {
      const { bytes, view } = start(TYPES.charge, record.slot, CHARGE_BYTES);
      view.setUint32(5, record.vectors, true);
      view.setFloat64(9, record.time, true);
      bytes.set(record.digest, 17);
      return bytes;
    }
    case "counts": {
      const { marks } = record;
      const { bytes, view } = start(TYPES.counts, record.slot, COUNTS_BYTES + MARK_BYTES * marks.length);
      view.setFloat64(5, record.total, true);
      view.setFloat64(13, record.latest, true);
      for (const [i, mark] of marks.entries()) {
        const at = COUNTS_BYTES + MARK_BYTES * i;
        view.setUint32(at, mark.windowSeconds, true);
        view.setFloat64(at + 4, mark.start, true);
        view.setFloat64(at + 12, mark.before, true);
      }
      return bytes;
    }
    case "epoch": {
      const { bytes } = start(TYPES.epoch, 0, EPOCH_RECORD_BYTES);
      bytes.set(fromHex(record.epoch), EPOCH_AT);
      return bytes;
    }
    case "run":
      return concatBytes(start(TYPES.run, 0, RUN_AT).bytes, utf8(record.run));
    case "keys": {
      const { bytes, view } = start(TYPES.keys, 0, ACCOUNT_AT);
      view.setFloat64(5, record.highest, true);
      return concatBytes(bytes, utf8(record.account));
    }
    case "key-charge": {
      const { bytes, view } = start(TYPES.keyCharge, record.slot, KEY_CHARGE_BYTES);
      view.setUint32(5, record.vectors, true);
      view.setFloat64(9, record.time, true);
      bytes.set(record.digest, 17);
      view.setFloat64(CHARGE_BYTES, record.serial, true);
      return bytes;
    }
    case "key-counts": {
      const { bytes, view } = start(TYPES.keyCounts, record.slot, 5 + PAIR_BYTES * record.used.length);
      for (const [i, [serial, vectors]] of record.used.entries()) {
        view.setFloat64(5 + PAIR_BYTES * i, serial, true);
        view.setFloat64(13 + PAIR_BYTES * i, vectors, true);
      }
      return bytes;
    }
  }
}

function start(type: number, slot: number, length: number): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, type);
  view.setUint32(1, slot, true);
  return { bytes, view };
}

/** undefined if the bytes are no record of this version or of 0.1.0 */
export function decodeUsageRecord(bytes: Uint8Array): UsageRecord | undefined {
  if (bytes.length < 7) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const slot = view.getUint32(1, true);
  switch (view.getUint8(0)) {
    case TYPES.slot: {
      const scopeAt = 7 + view.getUint16(5, true);
      if (scopeAt > bytes.length) return undefined;
      const decoder = new TextDecoder();
      const account = decoder.decode(bytes.subarray(7, scopeAt));
      return { type: "slot", slot, account, scope: decoder.decode(bytes.subarray(scopeAt)) };
    }
    case TYPES.charge:
      if (bytes.length !== CHARGE_BYTES) return undefined;
      return {
        type: "charge",
        slot,
        vectors: view.getUint32(5, true),
        time: view.getFloat64(9, true),
        digest: bytes.slice(17),
      };
    case TYPES.counts: {
      const marks = decodeMarks(view);
      if (marks === undefined) return undefined;
      const [total, latest] = [view.getFloat64(5, true), view.getFloat64(13, true)];
      return { type: "counts", slot, total, latest, marks };
    }
    case TYPES.undatedCharge:
      if (bytes.length !== UNDATED_CHARGE_BYTES) return undefined;
      return {
        type: "undated-charge",
        slot,
        vectors: view.getUint32(5, true),
        window: view.getFloat64(9, true),
        windowSeconds: view.getUint32(17, true),
        digest: bytes.slice(21),
      };
    case TYPES.undatedSums:
      if (bytes.length !== UNDATED_SUMS_BYTES) return undefined;
      return {
        type: "undated-sums",
        slot,
        total: view.getFloat64(5, true),
        windowVectors: view.getFloat64(13, true),
        window: view.getFloat64(21, true),
        windowSeconds: view.getUint32(29, true),
      };
    case TYPES.epoch: {
      if (bytes.length !== EPOCH_RECORD_BYTES) return undefined;
      return { type: "epoch", slot: 0, epoch: toHex(bytes.subarray(EPOCH_AT)) };
    }
    case TYPES.run:
      return { type: "run", slot: 0, run: new TextDecoder().decode(bytes.subarray(RUN_AT)) };
    case TYPES.keys: {
      if (bytes.length < ACCOUNT_AT) return undefined;
      const account = new TextDecoder().decode(bytes.subarray(ACCOUNT_AT));
      return { type: "keys", slot: 0, account, highest: view.getFloat64(5, true) };
    }
    case TYPES.keyCharge:
      if (bytes.length !== KEY_CHARGE_BYTES) return undefined;
      return {
        type: "key-charge",
        slot,
        vectors: view.getUint32(5, true),
        time: view.getFloat64(9, true),
        digest: bytes.slice(17, CHARGE_BYTES),
        serial: view.getFloat64(CHARGE_BYTES, true),
      };
    case TYPES.keyCounts: {
      const count = (bytes.length - 5) / PAIR_BYTES;
      if (!Number.isInteger(count)) return undefined;
      const used = Array.from(
        { length: count },
        (_, i) =>
          [view.getFloat64(5 + PAIR_BYTES * i, true), view.getFloat64(13 + PAIR_BYTES * i, true)] as const,
      );
      return { type: "key-counts", slot, used };
    }
    default:
      return undefined;
  }
}

function decodeMarks(view: DataView): Mark[] | undefined {
  const count = (view.byteLength - COUNTS_BYTES) / MARK_BYTES;
  if (!Number.isInteger(count) || count < MARKED_WINDOWS.length || count > MOST_MARKS) return undefined;
  const marks = Array.from({ length: count }, (_, i): Mark => {
    const at = COUNTS_BYTES + MARK_BYTES * i;
    return {
      windowSeconds: view.getUint32(at, true),
      start: view.getFloat64(at + 4, true),
      before: view.getFloat64(at + 12, true),
    };
  });
  const areOurs = MARKED_WINDOWS.every((length, i) => marks[i].windowSeconds === length);
  return areOurs && marks.every(({ windowSeconds }) => windowSeconds > 0) ? marks : undefined;
}
