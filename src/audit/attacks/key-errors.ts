/**
 * Reading the errors instead: v along a row of the matrix gives that row times S mod 2^b0, exactly.
 *
 *   v = 2^(32−b0)·(row i of (M(a_0)ᵀ)_k):  H_i − reply ≡ E_H,i + rounding, so the equation for S is exact
 *   v = 2^(32−b0)·(row i of M(a_j)_k):     B_i − reply ≡ E_i + W_i + rounding; exact where W_i is known roughly
 *
 * An exact equation takes one dimension off, as an entry of S does. E_H has more bits than S, E as many, so neither is
 * cheaper; here a vector is spent on each, where two entries of S fit.
 *
 * Source: docs/parameters.md §Worn keys.
 */
import { RING_DEGREE } from "../../ring/constants.ts";
import type { Attack, AttackContext, AttackResult } from "../attack.ts";
import { hintRow, weightRow } from "../key-queries.ts";
import type { Oracle } from "../oracle.ts";
import { percent } from "../../base/show-number.ts";
import type { StolenKey } from "../stolen-key.ts";
import { unitShift } from "./unit-queries.ts";

/** Equations that are tried. */
const EQUATIONS = 16;

async function run({ view, open }: AttackContext): Promise<AttackResult[]> {
  const { parameters, inFeatures: n, rows, bundleId, knownWithin } = view;
  const { keyLength, replyBits, weightErrorBits, hintErrorBits, weightBits, hintBits, secretBits } =
    parameters;
  const oracle = await open();
  const count = Math.min(EQUATIONS, n);
  // W roughly, as anybody gets it: under another key.
  const words = await oracle.askFunctional(count, unitShift(view), (t, z) => void (z[t] = 1));
  const weights = Float64Array.from(words, (word) => Math.round(word / 2 ** unitShift(view)));

  const key = await oracle.fetchKey();
  const hints = await equations(oracle, key, count, (i) => hintRow(bundleId, i, keyLength));
  const hintRest = restOf(hints, (t, r) => key.hint[r * RING_DEGREE + t], rows, replyBits);
  const hintWidth = 2 ** (hintErrorBits - 1) + 2 ** (31 - hintBits);
  const sums = await equations(oracle, key, count, (i) => weightRow(bundleId, i, keyLength));
  const sumRest = restOf(sums, (t, r) => key.weights[r * n + t] - weights[t * rows + r], rows, replyBits);
  // E, its rounding, and what W was off by.
  const sumWidth = 2 ** (weightErrorBits - 1) + 2 ** (31 - weightBits) + knownWithin;
  const [hintExact, sumExact] = [within(hintRest, hintWidth), within(sumRest, sumWidth)];
  return [
    {
      attack: "errors",
      variant: "equations for S from E_H, and from E",
      points: [],
      facts: {
        hintExact,
        sumExact,
        hintGuessing: Math.min(1, (2 * hintWidth) / 2 ** replyBits),
        sumGuessing: Math.min(1, (2 * sumWidth) / 2 ** replyBits),
        bitsOfSecret: secretBits,
        bitsOfError: weightErrorBits,
        bitsOfHintError: hintErrorBits,
      },
      finding:
        `E_H is read in ${percent(hintExact)} of tries at ${hintErrorBits} bits an entry, E where W is known in ` +
        `${percent(sumExact)} at ${weightErrorBits}: no cheaper than S at ${secretBits}`,
    },
  ];
}

/** Row times S mod 2^b0, (count, R). */
async function equations(
  oracle: Oracle,
  key: StolenKey,
  count: number,
  row: (i: number) => Uint32Array,
): Promise<Uint32Array> {
  const { replyBits } = oracle.view.parameters;
  const replies = await oracle.askSecret(key, count, (t, words) => {
    for (const [j, value] of row(t).entries()) words[j] = value << (32 - replyBits);
  });
  return replies.map((word) => word >>> (32 - replyBits));
}

/** published − reply mod 2^b0, centred. */
function restOf(
  replies: Uint32Array,
  published: (t: number, r: number) => number,
  rows: number,
  replyBits: number,
): Int32Array {
  return Int32Array.from(
    replies,
    (reply, i) =>
      ((published(Math.floor(i / rows), i % rows) - reply) << (32 - replyBits)) >> (32 - replyBits),
  );
}

const within = (rest: Int32Array, width: number) =>
  rest.filter((value) => Math.abs(value) <= width).length / rest.length;

export const keyErrors: Attack = {
  name: "errors",
  title: "reading a key's errors instead of its secret",
  source: "docs/parameters.md, Worn keys",
  run,
};
