/**
 * Every weight in every query: x̂ = 2^a·z with z_j = ±1 at random, as large as hardly ever wraps.
 *
 *   u = 2^a·Σ_j z_j·(W_j + E_j);   Ŵ by least squares
 *
 * A reply of b0 bits is more than the h_A bits that a weight has at the precision of answers, so Q_func = n·h_A/b0 is
 * below n. But a reply is one linear functional, and its bits are spent on the precision of that one: packing several
 * real numbers into it does not work. Integers could be packed (Lagarias, Odlyzko 1985), at b0/h of W + E exactly, which is
 * less than one a query. So the error is √(1 − Q/n) here too, and Q_func is not reached.
 *
 * Source: docs/parameters.md §After queries.
 */

import { weightEntropy } from "../../rlwe/lattice-estimate.ts";
import { uniformStddev } from "../../rlwe/parameter-set.ts";
import type { Attack, AttackContext } from "../attack.ts";
import { PrefixRegression } from "../linear-algebra.ts";
import { randomWords } from "../random-numbers.ts";
import { checkpoints, scoreCopy } from "../score.ts";

/** Standard deviations of the sum that a query leaves room for. */
const ROOM = 4.5;
/** λ relative to ‖z‖²: the noise of a reply. */
const RIDGE = 2 ** -14;

async function run({ view, truth, open, activations, maxQueries, random }: AttackContext) {
  const { inFeatures: n, rows, parameters, weightStddev } = view;
  const oracle = await open();
  const count = Math.min(n, maxQueries);
  const shift = Math.floor(31 - Math.log2(ROOM * weightStddev * Math.sqrt(n)));
  const signs = Float64Array.from(randomWords(random, count * n), (word) => 1 - 2 * (word >>> 31));
  const words = await oracle.askFunctional(count, shift, (t, z) => {
    for (let j = 0; j < n; j++) z[j] = signs[t * n + j];
  });
  const values = Float64Array.from(words, (word) => word / 2 ** shift);
  const regression = new PrefixRegression(signs, count, n, RIDGE * n);
  const points = checkpoints(count).map((queries) =>
    scoreCopy(view, truth, activations[0].heldOut, queries, regression.solve(values, rows, queries)),
  );
  const last = points[points.length - 1];
  const bits = replyBits(values, signs, view, truth.integers);
  const sum = Math.hypot(weightStddev, uniformStddev(parameters.weightErrorBits));
  const integers = parameters.replyBits / weightEntropy(sum);
  return [
    {
      attack: "packed",
      variant: "all weights in each query",
      points,
      facts: {
        functionalBits: bits,
        integersPerQuery: integers,
        functionQueries: view.functionQueries,
        weightError: last.weightError,
      },
      finding:
        `a reply gives one sum of all weights to ${bits.toFixed(1)} bits; ${count} of them leave an error of ` +
        `${last.weightError.toFixed(3)}. As integers ${integers.toFixed(2)} of W + E fit a query: packing gains nothing`,
    },
  ];
}

/** log2 of how much larger a sum is than the error of its reply. */
function replyBits(
  values: Float64Array,
  signs: Float64Array,
  { inFeatures: n, rows }: AttackContext["view"],
  integers: Int32Array,
): number {
  let [error, size] = [0, 0];
  for (const [i, value] of values.entries()) {
    const [t, r] = [Math.floor(i / rows), i % rows];
    let exact = 0;
    for (let j = 0; j < n; j++) exact += signs[t * n + j] * integers[r * n + j];
    error += (value - exact) ** 2;
    size += exact ** 2;
  }
  return Math.log2(size / error) / 2;
}

export const packedQueries: Attack = {
  name: "packed",
  title: "all weights packed into each query",
  source: "Tacet's own; Lagarias, Odlyzko 1985",
  run,
};
