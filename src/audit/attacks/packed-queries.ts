/**
 * Several weights in each query: what a thief needs at least, Q_func = n·h_A/b0 (docs/parameters.md, After queries).
 *
 * Source: docs/parameters.md §After queries; the packing is in lattice/packing.ts.
 */
import type { Attack, AttackContext } from "../attack.ts";
import { makePacking } from "../lattice/packing.ts";
import { readPacked } from "../read-packed.ts";
import { type CurvePoint, checkpoints, scoreCopy } from "../score.ts";
import { percent } from "../show.ts";

async function run({ view, truth, open, activations, maxQueries, random, signal }: AttackContext) {
  const { inFeatures: n, rows, replyBits, weightEntropy } = view;
  const packing = makePacking(weightEntropy, replyBits, random);
  const rate = packing.unknowns / packing.replies;
  const columns = Math.min(n, Math.floor((maxQueries / packing.replies) * packing.unknowns));
  const places = Array.from({ length: columns }, (_, j) => j);
  const oracle = await open();
  const estimate = new Float64Array(rows * n);
  const points: CurvePoint[] = [];
  const wanted = checkpoints(Math.ceil(columns / rate));
  let exactWeights = 0;
  let blocks = 0;
  let wrongBlocks = 0;
  const score = () => points.push(scoreCopy(view, truth, activations[0].heldOut, oracle.asked, estimate));
  await readPacked(oracle, packing, places, (block, values) => {
    signal?.throwIfAborted();
    for (let r = 0; r < rows; r++) {
      let right = true;
      for (const [i, j] of block.entries()) {
        const value = values[r * block.length + i];
        estimate[r * n + j] = value;
        if (value === truth.integers[r * n + j]) exactWeights++;
        else right = false;
      }
      blocks++;
      if (!right) wrongBlocks++;
    }
    if (oracle.asked >= wanted[0]) {
      score();
      while (wanted.length > 0 && wanted[0] <= oracle.asked) wanted.shift();
    }
  });
  if (points[points.length - 1]?.queries !== oracle.asked) score();
  const exact = exactWeights / (rows * columns);
  const formula = replyBits / weightEntropy;
  const sealed = view.spec.output === "sealed";
  return [
    {
      attack: "packed",
      variant: `${packing.unknowns} weights in ${packing.replies} queries`,
      points,
      facts: {
        weightsPerQuery: rate,
        formulaWeightsPerQuery: formula,
        exactOfAsked: exact,
        blocksRight: 1 - wrongBlocks / blocks,
        queries: oracle.asked,
        ...(sealed ? {} : { functionQueries: (n * weightEntropy) / replyBits }),
      },
      finding:
        `${rate.toFixed(3)} weights of each row a query, the bound b0/h_A is ${formula.toFixed(3)}` +
        `${sealed ? " for a row alone" : ""}; ` +
        `${percent(exact)} of the weights asked for are exact after ${oracle.asked} queries`,
    },
  ];
}

export const packedQueries: Attack = {
  name: "packed",
  title: "several weights packed into one query",
  source: "review B; Lagarias, Odlyzko 1985",
  run,
};
