/** The limits of a provider: what it was given, and what follows from that and from the adapters it serves. */
import { TacetError } from "../base/errors.ts";
import {
  DEFAULT_LIMITS,
  FRAME_OVERHEAD_BYTES,
  type Limits,
  MAX_MESSAGE_BYTES,
  MAX_PROVIDER_MESSAGE_BYTES,
} from "../wire/limits.ts";
import type { ServedAdapter } from "./served-adapter.ts";

/** Room for a Hello with a long token, however small the adapters are. */
export const MIN_MESSAGE_BYTES = 64 << 10;

/**
 * The largest message is what a query of maxVectors vectors of the widest group needs; with a largest message alone,
 * maxVectors is what it holds, if that is less than the default. No query may have more vectors than a key answers.
 *
 * @throws TacetError bad_argument for a limit that is no positive integer, and for two that do not fit each other
 */
export function limitsFor(adapters: readonly ServedAdapter[], given: Partial<Limits> = {}): Limits {
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1)) {
      throw new TacetError("bad_argument", `the limit ${name} must be an integer from 1`);
    }
  }
  const widest = Math.max(...adapters.flatMap(({ layers }) => layers.map(({ queryBytes }) => queryBytes)));
  const perKey = Math.min(...adapters.map(({ bundle }) => bundle.manifest.parameters.vectorsPerKey));
  if (given.maxVectors !== undefined && given.maxVectors > perKey) {
    throw new TacetError(
      "bad_argument",
      `maxVectors is more than ${perKey}, the vectors that one key answers`,
    );
  }
  const largest = given.maxMessageBytes ?? MAX_MESSAGE_BYTES;
  const fitting = Math.floor((largest - FRAME_OVERHEAD_BYTES) / widest);
  const maxVectors = given.maxVectors ?? Math.min(DEFAULT_LIMITS.maxVectors, perKey, Math.max(1, fitting));
  const needed = FRAME_OVERHEAD_BYTES + maxVectors * widest;
  if (largest > MAX_MESSAGE_BYTES) {
    throw new TacetError("bad_argument", `maxMessageBytes is more than ${MAX_MESSAGE_BYTES}`);
  }
  if (needed > largest) {
    const what = `a query of ${maxVectors} vectors of the widest group needs a message of ${needed} bytes`;
    const larger = needed > MAX_MESSAGE_BYTES ? "" : `raise maxMessageBytes to ${needed}`;
    const fewer = fitting < 1 ? "" : `lower maxVectors to ${fitting}`;
    throw new TacetError("bad_argument", `${what}, and the largest may have ${largest}`, {
      hint:
        [larger, fewer].filter((way) => way !== "").join(", or ") ||
        "no message holds a query of this adapter",
    });
  }
  return {
    maxMessageBytes: given.maxMessageBytes ?? Math.max(MIN_MESSAGE_BYTES, needed),
    maxVectors,
    maxInFlight: given.maxInFlight ?? DEFAULT_LIMITS.maxInFlight,
  };
}

/**
 * Bytes of the largest part of a key: B and H of the widest group.
 *
 * @throws TacetError bad_state if no message holds it
 */
export function largestKeyPart(adapters: readonly ServedAdapter[]): number {
  let largest = 0;
  for (const { name, layers } of adapters) {
    const bytes = Math.max(...layers.map(({ keyBytes }) => keyBytes));
    if (bytes > MAX_PROVIDER_MESSAGE_BYTES - FRAME_OVERHEAD_BYTES) {
      throw new TacetError("bad_state", `a key of adapter ${name} has a part of ${bytes} bytes`, {
        hint: `parts may have up to ${MAX_PROVIDER_MESSAGE_BYTES >> 20} MiB: its rank is too large for its widest layer`,
      });
    }
    largest = Math.max(largest, bytes);
  }
  return largest;
}
