/**
 * A guess of A's initial value, together with the public basis: W = M·A with M (r, r) unknown, so that r queries are
 * enough if A is what the framework drew and training moved it little.
 *
 *   Y = M·(A_0·X)  →  M by least squares from Q ≥ r queries,   Ŵ = M·A_0
 *
 * Source: our own. The guess is the premise: the audit takes the true rows and moves them away by a drift
 * (relative size of what training added), since a thief's guess is right or it is not.
 */
import type { Attack, AttackContext, AttackResult } from "../attack.ts";
import { PrefixRegression } from "../linear-algebra.ts";
import { gaussians } from "../random-numbers.ts";
import { scoreCopy } from "../score.ts";

const DRIFTS = [0, 0.05, 0.2, 1];
/** λ relative to the mean square of A_0·x: the noise of a result; what the drift makes of A_0·x comes on top. */
const RIDGE = 2 ** -16;

async function run(context: AttackContext): Promise<AttackResult[]> {
  const { view, open, maxQueries, random } = context;
  const { inFeatures: n, spec } = view;
  const rank = Math.max(...spec.modules.map(({ rows }) => rows));
  const asked = [...new Set([1, 2, 4, 8].map((times) => Math.min(times * rank, maxQueries)))];
  const count = asked[asked.length - 1];
  const x = Float32Array.from(gaussians(random, count * n));
  const oracle = await open();
  const y = await oracle.evaluate(x, count);
  return DRIFTS.map((drift) => {
    const guess = guessRows(context, drift);
    const points = asked.map((queries) =>
      scoreCopy(
        view,
        context.truth,
        context.activations[0].heldOut,
        queries,
        solve(context, guess, RIDGE + drift ** 2, x, y, queries),
      ),
    );
    const first = points[0];
    const last = points[points.length - 1];
    return {
      attack: "init",
      variant: `A known up to a drift of ${Math.round(100 * drift)} %`,
      points,
      facts: { drift, queries: first.queries, weightError: first.weightError, lastError: last.weightError },
      finding:
        `A known up to ${Math.round(100 * drift)} %: ${first.queries} queries leave an error of ` +
        `${first.weightError.toFixed(3)}, ${last.queries} queries ${last.weightError.toFixed(3)}`,
    };
  });
}

/** Rows that span what the thief takes for each module's row space, (R, n): the true ones and a drift. */
function guessRows({ view, truth, random }: AttackContext, drift: number): Float64Array {
  const { rows, inFeatures: n } = view;
  const guess = Float64Array.from(truth.real);
  const noise = gaussians(random, rows * n);
  for (let r = 0; r < rows; r++) {
    const row = guess.subarray(r * n, (r + 1) * n);
    const size = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0) / n);
    for (let j = 0; j < n; j++) row[j] += drift * size * noise[r * n + j];
  }
  return guess;
}

/** M of each module from the first queries, and Ŵ = M·A_0 in the integers' unit. */
function solve(
  { view }: AttackContext,
  guess: Float64Array,
  ridge: number,
  x: Float32Array,
  y: Float32Array,
  queries: number,
): Float64Array {
  const { rows, inFeatures: n, spec, tensors } = view;
  const estimate = new Float64Array(rows * n);
  let first = 0;
  for (const { rows: rank } of spec.modules) {
    const inputs = new Float64Array(queries * rank); // A_0·x
    const outputs = new Float64Array(queries * rank);
    for (let t = 0; t < queries; t++) {
      for (let r = 0; r < rank; r++) {
        let dot = 0;
        for (let j = 0; j < n; j++) dot += guess[(first + r) * n + j] * x[t * n + j];
        inputs[t * rank + r] = dot;
        outputs[t * rank + r] = y[t * rows + first + r];
      }
    }
    const meanSquare = inputs.reduce((sum, value) => sum + value * value, 0) / queries;
    const m = new PrefixRegression(inputs, queries, rank, ridge * meanSquare).solve(outputs, rank, queries);
    for (let r = 0; r < rank; r++) {
      for (let l = 0; l < rank; l++) {
        const factor = m[r * rank + l] / tensors.scales[first + r];
        for (let j = 0; j < n; j++) estimate[(first + r) * n + j] += factor * guess[(first + l) * n + j];
      }
    }
    first += rank;
  }
  return estimate;
}

export const guessableInit: Attack = {
  name: "init",
  title: "guessable initialisation of A, with B′",
  source: "Tacet's own",
  run,
};
