/**
 * Stripping P: queries with zero data (v = [0 | v_pad]) say only P; whoever knows P has H − P·C_pad = W·C + E, an LWE
 * instance of dimension n with the weights as its secret.
 *
 * Source: our own. P is as wide as the weights so that this costs as much as asking for weights:
 * n_pad·h_P/b0 queries, after which the function could be known.
 */
import { estimateLwe, weightEntropy } from "../../rlwe/lattice-estimate.ts";
import { paddingEntropy, paddingStddev } from "../../rlwe/parameters.ts";
import type { Attack, AttackContext } from "../attack.ts";
import { makePacking } from "../lattice/packing.ts";
import { readPacked } from "../read-packed.ts";
import { grouped, percent } from "../show.ts";

async function run({ view, truth, open, random, signal }: AttackContext) {
  const { parameters, rows, inFeatures: n, layout, replyBits } = view;
  const { paddingLength } = parameters;
  const packing = makePacking(weightEntropy(paddingStddev(parameters)), replyBits, random);
  const places = Array.from({ length: paddingLength }, (_, j) => layout.paddingOffset + j);
  const oracle = await open();
  let right = 0;
  await readPacked(oracle, packing, places, (columns, values) => {
    signal?.throwIfAborted();
    for (let r = 0; r < rows; r++) {
      for (const [i, place] of columns.entries()) {
        const entry = truth.padding[r * paddingLength + place - layout.paddingOffset];
        if (values[r * columns.length + i] === entry) right++;
      }
    }
  });
  const share = right / (rows * paddingLength);
  // Of sealed output fewer are enough.
  const functionQueries = view.spec.output === "sealed" ? undefined : (n * view.weightEntropy) / replyBits;
  const left = estimateLwe({
    dimension: n,
    logQ: parameters.logQ,
    secretStddev: view.weightStddev,
    errorStddev: Math.hypot(parameters.hintErrorStddev, 2 ** (32 - parameters.hintBits) / Math.sqrt(12)),
    samples: parameters.ringDegree,
  });
  return [
    {
      attack: "strip",
      variant: "P, then the hint",
      points: [],
      facts: {
        queries: oracle.asked,
        formulaQueries: (paddingLength * paddingEntropy(parameters)) / replyBits,
        ...(functionQueries === undefined ? {} : { functionQueries }),
        paddingRight: share,
        leftDimension: n,
        leftCoreBits: left.coreBits,
        leftStandardBits: left.standardBits,
      },
      finding:
        `${oracle.asked} queries gave ${percent(share)} of P's ${grouped(rows * paddingLength)} entries; the hint is ` +
        `then LWE of dimension ${n}, ${left.coreBits.toFixed(0)} core bits` +
        (functionQueries === undefined
          ? ""
          : `. The weights themselves take ${functionQueries.toFixed(0)} queries`),
    },
  ];
}

export const stripPadding: Attack = {
  name: "strip",
  title: "stripping P, then the hint",
  source: "Tacet's own",
  run,
};
