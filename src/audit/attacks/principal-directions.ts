/**
 * Queries along the principal directions of activations: what matters for a useful copy comes first.
 *
 *   Ŵ = Σ_d y_d·v_dᵀ, v_d the d-th principal direction of text that the thief has
 *
 * Source: our own. On-distribution error after Q queries is the root of the spectrum's share beyond Q.
 */
import type { Attack, AttackContext, AttackResult } from "../attack.ts";
import { principalDirections } from "../linear-algebra.ts";
import { gaussians } from "../random-numbers.ts";
import { type Activations, checkpoints, scoreCopy } from "../score.ts";

/** Multiply-adds that finding directions may take: half a minute. */
const MOST_WORK = 2e10;
const ROUNDS = 3;

async function run(context: AttackContext): Promise<AttackResult[]> {
  const results: AttackResult[] = [];
  for (const kind of context.activations) {
    if (kind.name !== "white vectors") results.push(await alongDirections(context, kind));
  }
  return results;
}

async function alongDirections(
  { view, truth, open, maxQueries, random }: AttackContext,
  kind: Activations,
): Promise<AttackResult> {
  const { inFeatures: n, rows, tensors } = view;
  const samples = Math.min(kind.seen.length / n, 2 * n);
  const affordable = Math.floor(MOST_WORK / (2 * ROUNDS * samples * n));
  const count = Math.min(n, samples, maxQueries, Math.max(16, affordable));
  const start = gaussians(random, count * n);
  const directions = principalDirections(kind.seen, samples, n, count, start, ROUNDS);
  const oracle = await open();
  const y = await oracle.evaluate(Float32Array.from(directions), count);
  const estimate = new Float64Array(rows * n);
  let done = 0;
  const points = checkpoints(count).map((queries) => {
    for (; done < queries; done++) {
      for (let r = 0; r < rows; r++) {
        const factor = y[done * rows + r] / tensors.scales[r];
        for (let j = 0; j < n; j++) estimate[r * n + j] += factor * directions[done * n + j];
      }
    }
    return scoreCopy(view, truth, kind.heldOut, queries, estimate);
  });
  const last = points[points.length - 1];
  return {
    attack: "principal",
    variant: `directions of ${kind.name}`,
    points,
    facts: { queries: count, weightError: last.weightError, deltaError: last.deltaError },
    finding:
      `${count} queries along the principal directions of ${kind.name} leave an error of ` +
      `${last.deltaError.toFixed(3)} in its deltas, ${last.weightError.toFixed(3)} in the weights`,
  };
}

export const principalQueries: Attack = {
  name: "principal",
  title: "queries along the principal directions of activations",
  source: "Tacet's own",
  run,
};
