/**
 * Records of the usage journal, little-endian:
 *
 *     slot    1  u32 slot  u16 length  account (UTF-8)  scope (UTF-8, the rest)
 *     charge  2  u32 slot  u32 vectors  f64 window  u32 windowSeconds  16 bytes digest
 *     sums    3  u32 slot  f64 total  f64 windowVectors  f64 window  u32 windowSeconds
 */
import { concatBytes, utf8 } from "../base/bytes.ts";

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
  /** Start of the budget's window, in milliseconds; 0 without. */
  readonly window: number;
  readonly windowSeconds: number;
  readonly digest: Uint8Array;
}

export interface SumsRecord {
  readonly type: "sums";
  readonly slot: number;
  readonly total: number;
  readonly windowVectors: number;
  readonly window: number;
  readonly windowSeconds: number;
}

export type UsageRecord = SlotRecord | ChargeRecord | SumsRecord;

const TYPES = { slot: 1, charge: 2, sums: 3 } as const;
const CHARGE_BYTES = 21 + REQUEST_DIGEST_BYTES;
const SUMS_BYTES = 33;

export function encodeUsageRecord(record: UsageRecord): Uint8Array {
  if (record.type === "slot") {
    const account = utf8(record.account);
    const head = new Uint8Array(7);
    const view = new DataView(head.buffer);
    view.setUint8(0, TYPES.slot);
    view.setUint32(1, record.slot, true);
    view.setUint16(5, account.length, true);
    return concatBytes(head, account, utf8(record.scope));
  }
  const bytes = new Uint8Array(record.type === "charge" ? CHARGE_BYTES : SUMS_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, TYPES[record.type]);
  view.setUint32(1, record.slot, true);
  if (record.type === "charge") {
    view.setUint32(5, record.vectors, true);
    view.setFloat64(9, record.window, true);
    view.setUint32(17, record.windowSeconds, true);
    bytes.set(record.digest, 21);
  } else {
    view.setFloat64(5, record.total, true);
    view.setFloat64(13, record.windowVectors, true);
    view.setFloat64(21, record.window, true);
    view.setUint32(29, record.windowSeconds, true);
  }
  return bytes;
}

/** undefined if the bytes are no record of this version */
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
        window: view.getFloat64(9, true),
        windowSeconds: view.getUint32(17, true),
        digest: bytes.slice(21),
      };
    case TYPES.sums:
      if (bytes.length !== SUMS_BYTES) return undefined;
      return {
        type: "sums",
        slot,
        total: view.getFloat64(5, true),
        windowVectors: view.getFloat64(13, true),
        window: view.getFloat64(21, true),
        windowSeconds: view.getUint32(29, true),
      };
    default:
      return undefined;
  }
}
