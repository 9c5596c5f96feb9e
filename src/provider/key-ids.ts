/**
 * Names of keys (pll/key-secrets.ts): 8 bytes of the store's epoch, then the account's serial, big-endian. A store gives
 * serials in order and never twice within an epoch, so the state of all keys ever made is small: only the newest
 * LIVE_KEYS of an account are good. An epoch is new where counts may have been lost or doubled.
 */
import { toHex } from "../base/bytes.ts";
import { KEY_ID_BYTES } from "../pll/key-secrets.ts";
import { systemRandom } from "../ring/random-source.ts";

export const EPOCH_BYTES = 8;
/** Keys of an account that are good at a time: those of some clients, each with a few. */
export const LIVE_KEYS = 64;

export interface KeyName {
  /** 16 hex digits. */
  readonly epoch: string;
  /** From 1. */
  readonly serial: number;
}

/** 16 hex digits that no epoch has had. */
export function newEpoch(): string {
  const bytes = new Uint8Array(EPOCH_BYTES);
  systemRandom(bytes);
  return toHex(bytes);
}

export function keyIdOf({ epoch, serial }: KeyName): Uint8Array {
  const id = new Uint8Array(KEY_ID_BYTES);
  for (let i = 0; i < EPOCH_BYTES; i++) id[i] = Number.parseInt(epoch.slice(2 * i, 2 * i + 2), 16);
  new DataView(id.buffer).setBigUint64(EPOCH_BYTES, BigInt(serial));
  return id;
}

/** undefined for bytes that are no key's name. */
export function keyNameOf(id: Uint8Array): KeyName | undefined {
  if (id.length !== KEY_ID_BYTES) return undefined;
  let serial = 0;
  for (let i = EPOCH_BYTES; i < KEY_ID_BYTES; i++) serial = 256 * serial + id[i];
  // Above 2^53 it may have been rounded, but not to below that.
  if (serial < 1 || serial > Number.MAX_SAFE_INTEGER) return undefined;
  return { epoch: toHex(id.subarray(0, EPOCH_BYTES)), serial };
}
