/**
 * Chosen unit queries: x̂ = 2^a·e_j gives 2^a·(W_j + E_j) in every row, in one reply.
 *
 *   u = B·x̂ − S·v, off by half a cell of the reply; at the largest a that does not wrap W is known to within E
 *
 * Source: our own; for linear layers in general Tramèr et al., "Stealing machine learning models via
 * prediction APIs", USENIX Security 2016, §4.1. After Q queries the error of an unstructured W is √(1 − Q/n).
 */
import type { Attack, AttackContext } from "../attack.ts";
import type { GroupView } from "../group-view.ts";
import { checkpoints, scoreCopy } from "../score.ts";
import { grouped, percent } from "../../base/show-number.ts";

/** Unit queries that are asked again under masks, to show that the provider could not tell. */
const MASKED = 16;
/** Standard deviations of W that a query leaves room for. */
const ROOM = 5.5;

/** a: the largest amplitude at which hardly any weight wraps. */
export function unitShift({ weightStddev, knownWithin }: GroupView): number {
  return Math.floor(31 - Math.log2(ROOM * weightStddev + knownWithin));
}

async function run({ view, truth, open, activations, maxQueries }: AttackContext) {
  const { inFeatures: n, rows } = view;
  const oracle = await open();
  const estimate = new Float64Array(rows * n);
  const points = [];
  const shift = unitShift(view);
  let done = 0;
  for (const queries of checkpoints(Math.min(n, maxQueries))) {
    const words = await oracle.askFunctional(queries - done, shift, (t, z) => {
      z[done + t] = 1;
    });
    for (const [i, word] of words.entries()) {
      estimate[(i % rows) * n + done + Math.floor(i / rows)] = word / 2 ** shift;
    }
    done = queries;
    points.push(scoreCopy(view, truth, activations[0].heldOut, oracle.asked, estimate));
  }
  const { known, error } = precision({ view, truth }, estimate, done);
  const masked = await maskedUnits({ view, truth, open }, shift);
  return [
    {
      attack: "unit",
      variant: "one weight a query",
      points,
      facts: { knownOfAsked: known, errorOfAsked: error, maskedKnown: masked, keys: oracle.keys },
      finding:
        `${done} queries under ${oracle.keys === 1 ? "one key" : `${oracle.keys} keys`} gave ${percent(known)} of the ${grouped(done * rows)} weights that ` +
        `were asked for to within E (${percent(error)} of their size); hidden under masks, as honest queries are, ` +
        `${percent(masked)}`,
    },
  ];
}

/** Of the first columns: the share that is known to within E, and the error relative to their size. */
export function precision(
  { view, truth }: Pick<AttackContext, "view" | "truth">,
  estimate: Float64Array,
  columns: number,
): { known: number; error: number } {
  const { inFeatures: n, rows, knownWithin } = view;
  let [known, error, size] = [0, 0, 0];
  for (let r = 0; r < rows; r++) {
    for (let j = 0; j < columns; j++) {
      const weight = truth.integers[r * n + j];
      const off = estimate[r * n + j] - weight;
      if (Math.abs(off) <= knownWithin) known++;
      error += off ** 2;
      size += weight ** 2;
    }
  }
  return { known: known / (rows * columns), error: Math.sqrt(error / size) };
}

/** Share of weights that unit queries give which look like honest ones. */
async function maskedUnits(
  { view, truth, open }: Pick<AttackContext, "view" | "truth" | "open">,
  shift: number,
): Promise<number> {
  const { rows, inFeatures: n } = view;
  const count = Math.min(MASKED, n);
  const oracle = await open();
  const words = await oracle.askFunctional(count, shift, (t, z) => void (z[t] = 1), true);
  const estimate = new Float64Array(rows * n);
  for (const [i, word] of words.entries())
    estimate[(i % rows) * n + Math.floor(i / rows)] = word / 2 ** shift;
  return precision({ view, truth }, estimate, count).known;
}

export const unitQueries: Attack = {
  name: "unit",
  title: "chosen unit queries",
  source: "Tacet's own; Tramèr et al. 2016, §4.1",
  run,
};
