/**
 * Least squares from ordinary use: pairs (x, y) of real text, no chosen query at all.
 *
 * Source: Tramèr et al., "Stealing machine learning models via prediction APIs", USENIX Security 2016, §4.1;
 * docs/audit.md. With white activations the error of W is √(1 − Q/n); real ones are far from white, and a copy that is good on
 * text comes sooner than the weights.
 */
import type { Attack, AttackContext, AttackResult } from "../attack.ts";
import { PrefixRegression } from "../linear-algebra.ts";
import { type Activations, checkpoints, scoreCopy } from "../score.ts";

/** λ relative to the mean square of an activation vector: about the noise of a result. */
const RIDGE = 2 ** -16;

async function run(context: AttackContext): Promise<AttackResult[]> {
  const { recorded, activations } = context;
  const results: AttackResult[] = [];
  for (const [i, kind] of activations.entries()) {
    if (i === 0 && recorded !== undefined) results.push(learn(context, kind, recorded.x, recorded.y));
    else results.push(await ask(context, kind));
  }
  return results;
}

/** Activations that the audit makes up are sent as an honest client would send them. */
async function ask(context: AttackContext, kind: Activations): Promise<AttackResult> {
  const { view, open, maxQueries } = context;
  const count = Math.min(maxQueries, kind.seen.length / view.inFeatures);
  const oracle = await open();
  const x = kind.seen.subarray(0, count * view.inFeatures);
  return learn(context, kind, x, await oracle.evaluate(x, count));
}

function learn(
  { view, truth, maxQueries }: AttackContext,
  kind: Activations,
  x: Float32Array,
  y: Float32Array,
): AttackResult {
  const { inFeatures: n, rows, tensors } = view;
  const count = Math.min(maxQueries, x.length / n);
  const seen = x.subarray(0, count * n);
  const meanSquare = seen.reduce((sum, value) => sum + value * value, 0) / count;
  const regression = new PrefixRegression(seen, count, n, RIDGE * meanSquare);
  const points = checkpoints(count).map((queries) => {
    const estimate = regression.solve(y, rows, queries);
    for (let i = 0; i < estimate.length; i++) estimate[i] /= tensors.scales[Math.floor(i / n)];
    return scoreCopy(view, truth, kind.heldOut, queries, estimate);
  });
  const last = points[points.length - 1];
  return {
    attack: "prompts",
    variant: kind.name,
    points,
    facts: { queries: count, weightError: last.weightError, deltaError: last.deltaError },
    finding:
      `${count} ordinary vectors (${kind.name}) leave an error of ${last.weightError.toFixed(3)} in the weights and ` +
      `${last.deltaError.toFixed(3)} in the deltas of other ${kind.name}`,
  };
}

export const ordinaryPrompts: Attack = {
  name: "prompts",
  title: "least squares from ordinary prompts",
  source: "Tramèr et al. 2016, §4.1; docs/audit.md",
  run,
};
