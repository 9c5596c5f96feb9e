/** Where time and bytes of a model went: differences of its counters. */
import type { Traffic } from "../../client/connection/traffic.ts";
import type { OpenedModel } from "./source.ts";

/** Sums in milliseconds and bytes. */
export interface Reading {
  readonly totalMs: number;
  /** In the base model. */
  readonly baseMs: number;
  /** Masks, encryption, recovery, at the client. */
  readonly encryptionMs: number;
  /** As the provider reports; passes in part while the base model computes. */
  readonly providerMs: number;
  /** From sending to answer without the provider's part; passes in part while the base model computes. */
  readonly wireMs: number;
  /** Without keys. */
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Waits for answers that followed each other; two queries that are asked together are one. */
  readonly exchanges: number;
  /** Answered queries. */
  readonly roundTrips: number;
  /** Activation vectors in them. */
  readonly vectors: number;
  /** Keys that came. */
  readonly keys: number;
  readonly keyBytes: number;
}

const NO_TRAFFIC: Traffic = { bytesUp: 0, bytesDown: 0, roundTrips: 0, vectors: 0, keys: 0, keyBytes: 0 };

export function readCounters({ model, remote }: OpenedModel): Reading {
  const { cryptoMs = 0, providerMs = 0, wireMs = 0 } = remote?.adapter.timings ?? {};
  const traffic = remote?.provider.traffic ?? NO_TRAFFIC;
  return {
    totalMs: performance.now(),
    baseMs: model.timings.modelMs,
    encryptionMs: cryptoMs,
    providerMs,
    wireMs,
    exchanges: model.timings.exchanges,
    ...traffic,
  };
}

const FIELDS = [
  "totalMs",
  "baseMs",
  "encryptionMs",
  "providerMs",
  "wireMs",
  "bytesUp",
  "bytesDown",
  "exchanges",
  "roundTrips",
  "vectors",
  "keys",
  "keyBytes",
] as const;

export function combine(a: Reading, b: Reading, f: (a: number, b: number) => number): Reading {
  return Object.fromEntries(FIELDS.map((field) => [field, f(a[field], b[field])])) as unknown as Reading;
}

/** What happened between two readings, divided by `tokens`. */
export function between(before: Reading, after: Reading, tokens = 1): Reading {
  return combine(before, after, (a, b) => (b - a) / Math.max(1, tokens));
}

/** Milliseconds in which the client had to wait: neither base model nor encryption was at work. */
export function waitingMs({ totalMs, baseMs, encryptionMs }: Reading): number {
  return Math.max(0, totalMs - baseMs - encryptionMs);
}

/** With three digits behind the point, for JSON. */
export function rounded(value: number): number {
  return Math.round(1000 * value) / 1000;
}

export function timeSplit(perToken: Reading): Record<string, number> {
  return {
    totalMs: rounded(perToken.totalMs),
    baseMs: rounded(perToken.baseMs),
    encryptionMs: rounded(perToken.encryptionMs),
    waitingMs: rounded(waitingMs(perToken)),
    providerMs: rounded(perToken.providerMs),
    wireMs: rounded(perToken.wireMs),
  };
}
