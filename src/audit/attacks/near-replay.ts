/**
 * Replays and near-replays. The same bytes under the same key get the same reply: nothing new. The same x again under
 * fresh masks averages what is fresh: S·e, E_H·s, the reply's rounding. E·x̂ and the rounding of x̂ are the same each time,
 * and E·x̂ is new only under another key.
 *
 * Source: our own. All of it is about one functional that is known already; precision is the error of a copy's last bits.
 */
import { predictedNoiseParts } from "../../pll/noise.ts";
import type { Attack, AttackContext } from "../attack.ts";
import type { Oracle } from "../oracle.ts";

const REPLAYS = 64;
const KEYS = 4;

async function run(context: AttackContext) {
  const { parameters } = context.view;
  const same = await sameBytes(await context.open());
  const one = await average(context, await context.open(), 1);
  const more = await average(context, await context.open(), KEYS);
  const { activation, weightError, ...fresh } = predictedNoiseParts(parameters, parameters.rowNorm);
  const each = Math.hypot(...Object.values(fresh));
  const formula = (keys: number) =>
    Math.hypot(activation, weightError, each) /
    Math.hypot(activation, weightError / Math.sqrt(keys), each / Math.sqrt(REPLAYS));
  return [
    {
      attack: "replay",
      variant: `${REPLAYS} replays`,
      points: [],
      facts: {
        sameReply: same ? 1 : 0,
        averagingGain: one,
        formulaGain: formula(1),
        averagingGainKeys: more,
        formulaGainKeys: formula(KEYS),
        bitsPerQuery: Math.log2(Math.max(1, more)) / REPLAYS,
      },
      finding:
        `the same bytes ${same ? "get the same reply" : "get ANOTHER reply"}; ${REPLAYS} honest replays average the ` +
        `noise down ${one.toFixed(1)}-fold under one key, ${more.toFixed(1)}-fold under ${KEYS} ` +
        `(formula: ${formula(1).toFixed(1)}, ${formula(KEYS).toFixed(1)})`,
    },
  ];
}

async function sameBytes(oracle: Oracle): Promise<boolean> {
  const { rows } = oracle.view;
  const key = await oracle.fetchKey();
  const replies = await oracle.askSecret(key, 2, (_, words) => {
    for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + 1, 0x9e3779b1);
  });
  return replies.subarray(0, rows).every((word, r) => word === replies[rows + r]);
}

/** By how much the error of one W·x falls when the honest query is repeated, over several x. */
async function average(
  { view, truth, activations }: AttackContext,
  oracle: Oracle,
  keys: number,
): Promise<number> {
  const { rows, inFeatures: n, tensors } = view;
  const x = activations[0].seen.subarray(0, n);
  const copies = new Float32Array((REPLAYS / keys) * n);
  for (let t = 0; t < REPLAYS / keys; t++) copies.set(x, t * n);
  const sums = new Float64Array(rows);
  let single = 0;
  const exact = Float64Array.from({ length: rows }, (_, r) => {
    let sum = 0;
    for (let j = 0; j < n; j++) sum += truth.integers[r * n + j] * x[j];
    return tensors.scales[r] * sum;
  });
  for (let k = 0; k < keys; k++) {
    oracle.changeKey();
    const y = await oracle.evaluate(copies, REPLAYS / keys);
    for (const [i, value] of y.entries()) {
      single += (value - exact[i % rows]) ** 2 / REPLAYS;
      sums[i % rows] += value;
    }
  }
  const mean = sums.reduce((sum, value, r) => sum + (value / REPLAYS - exact[r]) ** 2, 0);
  return Math.sqrt(single / Math.max(mean, Number.MIN_VALUE));
}

export const nearReplay: Attack = {
  name: "replay",
  title: "replays and near-replays",
  source: "Tacet's own",
  run,
};
