/**
 * API keys: "tacet_" and 32 random bytes in hex. Stored is their SHA-256, under a prefix of our own. A slow or salted
 * hash is for passwords, which can be guessed: here a guess is one of 2^256, and no two keys are alike.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { toHex, utf8 } from "../base/bytes.ts";
import { checkOptions, type OptionTypes } from "../base/check-options.ts";
import { TacetError } from "../base/errors.ts";
import { type RandomSource, systemRandom } from "../ring/random-source.ts";
import type { Grant, KeyRecord } from "./store.ts";

const FILE_VERSION = 1;
const PREFIX = "tacet_";
const HASH_PREFIX = utf8("tacet/v1/api-key\n");

export interface NewKey {
  readonly account?: string;
  readonly label?: string;
  readonly adapters?: readonly string[];
  readonly budget: Grant | null;
  readonly vectorsPerSecond?: number | null;
  readonly expiresAt?: number | null;
}

const NEW_KEY: OptionTypes<NewKey> = {
  account: "string",
  label: "string",
  adapters: "list",
  budget: "any",
  vectorsPerSecond: "any",
  expiresAt: "any",
};

/**
 * A key, which is shown once, and the record that is stored instead of it.
 *
 * @param nowMs milliseconds since 1970
 * @throws TacetError bad_argument for a field that does not exist, or a missing budget: null is none, and is to be said
 */
export function createApiKey(
  input: NewKey,
  nowMs: number = Date.now(),
  random: RandomSource = systemRandom,
): { key: string; record: KeyRecord } {
  checkOptions(input, NEW_KEY, {
    of: "createApiKey",
    required: { budget: "{ vectors: 500, windowSeconds: 86_400 }" },
  });
  if (!isWellFormed(input.account ?? "")) {
    throw new TacetError("bad_argument", "the account's name has half a character in it", {
      hint: "give it as whole Unicode text",
    });
  }
  const bytes = new Uint8Array(32);
  random(bytes);
  const key = PREFIX + toHex(bytes);
  const name = new Uint8Array(5);
  random(name);
  const id = `k${toHex(name)}`;
  const record: KeyRecord = {
    id,
    hash: hashApiKey(key),
    account: input.account ?? id,
    label: input.label ?? "",
    adapters: input.adapters ?? [],
    budget: input.budget,
    vectorsPerSecond: input.vectorsPerSecond ?? null,
    createdAt: nowMs,
    expiresAt: input.expiresAt ?? null,
    revokedAt: null,
  };
  return { key, record };
}

/** SHA-256("tacet/v1/api-key\n" ‖ key), in hex. Leaves no copy of the key behind. */
export function hashApiKey(key: string): string {
  const bytes = utf8(key);
  const digest = sha256.create().update(HASH_PREFIX).update(bytes).digest();
  bytes.fill(0);
  return toHex(digest);
}

/** Whether a key may ask an adapter now. */
export function keyAllows(
  record: KeyRecord | undefined,
  adapter: string,
  nowMs: number,
): record is KeyRecord {
  return (
    record !== undefined &&
    record.revokedAt === null &&
    (record.expiresAt === null || nowMs < record.expiresAt) &&
    (record.adapters.length === 0 || record.adapters.includes(adapter))
  );
}

/** The same for a key or token that does not exist, is revoked, has expired or is for other adapters. */
export function unauthorized(): TacetError {
  return new TacetError("unauthorized", "the provider does not accept this token", {
    hint: "give the token or key that the provider issued (--token-file or TACET_TOKEN)",
  });
}

export function encodeKeyFile(records: readonly KeyRecord[]): string {
  return `${JSON.stringify({ version: FILE_VERSION, keys: records }, undefined, 1)}\n`;
}

/** @throws TacetError bad_state naming the field that is wrong */
export function decodeKeyFile(text: string, path: string): KeyRecord[] {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    throw bad(path, "it is not JSON");
  }
  const { version, keys } = (file ?? {}) as { version?: unknown; keys?: unknown };
  if (version !== FILE_VERSION || !Array.isArray(keys)) throw bad(path, "it is of another version");
  const records = keys.map((key, i) => checkRecord(path, i, key as KeyRecord));
  for (const field of ["id", "hash"] as const) {
    if (new Set(records.map((record) => record[field])).size !== records.length) {
      throw bad(path, `two keys have one ${field}`);
    }
  }
  return records;
}

function checkRecord(path: string, i: number, record: KeyRecord): KeyRecord {
  const text = (value: unknown, most: number) => typeof value === "string" && value.length <= most;
  const time = (value: unknown) => value === null || isCount(value, 8.64e15);
  const checks: Record<string, boolean> = {
    id: text(record?.id, 64) && record.id !== "",
    hash: typeof record?.hash === "string" && /^[0-9a-f]{64}$/.test(record.hash),
    account: text(record?.account, 256) && record.account !== "" && isWellFormed(record.account),
    label: text(record?.label, 256),
    adapters: Array.isArray(record?.adapters) && record.adapters.every((name) => text(name, 512)),
    budget: record?.budget === null || isBudget(record?.budget),
    vectorsPerSecond:
      record?.vectorsPerSecond === null ||
      (record?.vectorsPerSecond > 0 && record?.vectorsPerSecond <= 2 ** 32),
    createdAt: isCount(record?.createdAt, 8.64e15),
    expiresAt: time(record?.expiresAt),
    revokedAt: time(record?.revokedAt),
  };
  for (const [field, right] of Object.entries(checks)) {
    if (!right) throw bad(path, `${field} of key ${i} is missing or out of range`);
  }
  return record;
}

/** Halves of characters would all be one in UTF-8, and so two accounts one. */
function isWellFormed(name: string): boolean {
  return !/\p{Surrogate}/u.test(name);
}

function isBudget(budget: Grant | undefined): boolean {
  return isCount(budget?.vectors, 2 ** 48) && isCount(budget?.windowSeconds, 2 ** 32 - 1);
}

function isCount(value: unknown, most: number): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most;
}

function bad(path: string, what: string): TacetError {
  return new TacetError("bad_state", `${path} can't be used: ${what}`, {
    hint: "'tacet keys' writes this file; restore it from a copy",
  });
}

/** Budgets of the keys that may ask an adapter now. Empty: nothing limits the account. */
export function budgetsOf(keys: readonly KeyRecord[], adapter: string, nowMs: number): readonly Grant[] {
  const budgets: Grant[] = [];
  for (const key of keys) {
    if (key.budget !== null && keyAllows(key, adapter, nowMs)) budgets.push(key.budget);
  }
  return budgets;
}

/** Of all keys, for {@link budgetsOf}: the budgets of all valid keys of an account hold, whichever of them asks. */
export function keysByAccount(keys: Iterable<KeyRecord>): Map<string, KeyRecord[]> {
  const byAccount = new Map<string, KeyRecord[]>();
  for (const key of keys) {
    const others = byAccount.get(key.account);
    if (others === undefined) byAccount.set(key.account, [key]);
    else others.push(key);
  }
  return byAccount;
}
