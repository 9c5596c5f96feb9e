/** Queries that read a key's secrets instead of asking for the function. All are exact: low bits of v are zero. */
import { TacetError } from "../base/errors.ts";
import { RING_DEGREE } from "../ring/kernels.ts";
import type { Parameters } from "../rlwe/parameters.ts";
import { publicElementBytes } from "../rlwe/public-elements.ts";
import type { Oracle } from "./oracle.ts";
import type { StolenKey } from "./stolen-key.ts";

/** Entries of S that one reply holds: ⌊b0/h_S⌋. */
export function entriesPerQuery({ replyBits, secretBits }: Parameters): number {
  return Math.max(1, Math.floor(replyBits / secretBits));
}

/**
 * Entries of S of each row: v = Σ_i 2^(32 − b0 + i·h)·e_(j+i), so that a reply is Σ_i 2^(i·h)·S_(j+i) mod 2^b0.
 *
 * @param places the entries to read, a multiple of {@link entriesPerQuery}
 * @returns (R, places)
 */
export async function readSecret(
  oracle: Oracle,
  key: StolenKey,
  places: readonly number[],
): Promise<Int32Array> {
  const { rows, parameters } = oracle.view;
  const { replyBits, secretBits } = parameters;
  const each = entriesPerQuery(parameters);
  const replies = await oracle.askSecret(key, places.length / each, (t, words) => {
    for (let i = 0; i < each; i++) words[places[t * each + i]] = 2 ** (32 - replyBits + i * secretBits);
  });
  const found = new Int32Array(rows * places.length);
  for (const [i, reply] of replies.entries()) {
    const [t, r] = [Math.floor(i / rows), i % rows];
    let rest = reply >>> (32 - replyBits);
    for (let e = 0; e < each; e++) {
      const value = secretOf(rest, secretBits);
      found[r * places.length + t * each + e] = value;
      rest = (rest - value) / 2 ** secretBits;
    }
  }
  return found;
}

/** The value in (−2^(bits−1), 2^(bits−1)] that is `word` mod 2^bits. */
function secretOf(word: number, bits: number): number {
  const low = ((word % 2 ** bits) + 2 ** bits) % 2 ** bits;
  return low > 2 ** (bits - 1) ? low - 2 ** bits : low;
}

/** Share of rows in which Σ ±S_j over the entries that were read is what the provider answers, mod 2^b0. */
export async function checkSecret(
  oracle: Oracle,
  key: StolenKey,
  places: readonly number[],
  found: Int32Array,
): Promise<number> {
  const { rows, parameters } = oracle.view;
  const unit = 2 ** (32 - parameters.replyBits);
  const sign = (i: number) => (i % 3 === 0 ? -1 : 1);
  const [reply] = [
    await oracle.askSecret(key, 1, (_, words) => {
      for (const [i, place] of places.entries()) words[place] += sign(i) * unit;
    }),
  ];
  let right = 0;
  for (let r = 0; r < rows; r++) {
    let sum = 0;
    for (let i = 0; i < places.length; i++) sum += sign(i) * found[r * places.length + i];
    if (reply[r] === (sum * unit) >>> 0) right++;
  }
  return right / rows;
}

/** Row i of [M(a_1)_k; M(a_2)_k; …]: what B's entry i is made of. */
export function weightRow(bundleId: Uint8Array, i: number, k: number): Uint32Array {
  const a = elementOf(bundleId, 1 + Math.floor(i / RING_DEGREE));
  const at = i % RING_DEGREE;
  return Uint32Array.from({ length: k }, (_, j) => (at >= j ? a[at - j] : -a[RING_DEGREE + at - j]));
}

/** Row i of (M(a_0)ᵀ)_k: what H's entry i is made of. */
export function hintRow(bundleId: Uint8Array, i: number, k: number): Uint32Array {
  const a = elementOf(bundleId, 0);
  return Uint32Array.from({ length: k }, (_, j) => (j >= i ? a[j - i] : -a[RING_DEGREE + j - i]));
}

export function elementOf(bundleId: Uint8Array, index: number): Uint32Array {
  return new Uint32Array(new Uint8Array(publicElementBytes(bundleId, index)).buffer);
}

/** The code of what the provider refuses with; undefined if it does not. */
export async function refusalOf(ask: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await ask();
    return undefined;
  } catch (error) {
    if (error instanceof TacetError) return error.code;
    throw error;
  }
}
