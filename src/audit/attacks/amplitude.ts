/**
 * Amplitude and wrap-around: x̂ = 2^a·e_j for every a.
 *
 *   u = 2^a·(W_j + E_j + E_round) + half a cell of 2^(32 − b0) at most
 *   small a   low bits of W_j are rounded away
 *   large a   the sum wraps: W_j mod 2^(32 − a)
 *
 * Source: our own. No amplitude gives more than b0 bits a reply, nor W itself: E stays.
 */
import type { Attack, AttackContext } from "../attack.ts";

/** Columns that are asked at each amplitude. */
const COLUMNS = 7;

async function run({ view, truth, open }: AttackContext) {
  const { rows, inFeatures: n, knownWithin, parameters } = view;
  const { replyBits, weightBits, weightErrorBits } = parameters;
  const oracle = await open();
  const count = Math.min(COLUMNS, n);
  const shown: number[] = [];
  let closest = Number.POSITIVE_INFINITY;
  let largest = 0;
  for (let a = 0; a < 32; a++) {
    const words = await oracle.askFunctional(count, a, (t, z) => void (z[t] = 1));
    let [known, square] = [0, 0];
    for (const [i, word] of words.entries()) {
      const weight = truth.integers[(i % rows) * n + Math.floor(i / rows)];
      const off = word / 2 ** a - weight;
      if (Math.abs(off) <= knownWithin) known++;
      square += off ** 2;
      largest = Math.max(largest, Math.abs(weight));
    }
    if (known === words.length) shown.push(a);
    closest = Math.min(closest, Math.sqrt(square / words.length));
  }
  // What E and the rounding of B leave of the tolerance is for the reply's.
  const room = knownWithin - 2 ** (weightErrorBits - 1) - 2 ** (31 - weightBits);
  const from = Math.ceil(31 - replyBits - Math.log2(room));
  const to = Math.floor(31 - Math.log2(largest + knownWithin));
  const [least, most] = [Math.min(...shown), Math.max(...shown)];
  return [
    {
      attack: "amplitude",
      variant: "2^a times a unit vector",
      points: [],
      facts: {
        knownFrom: least,
        knownTo: most,
        formulaFrom: from,
        formulaTo: to,
        bitsAtMost: replyBits,
        closest,
      },
      finding:
        `a weight is known to within E from amplitude 2^${least} to 2^${most} (formula: 2^${from} to 2^${to}), never ` +
        `closer than ${closest.toFixed(0)} in the mean square; below, low bits are lost, above, high ones`,
    },
  ];
}

export const amplitude: Attack = {
  name: "amplitude",
  title: "amplitude and wrap-around",
  source: "Tacet's own",
  run,
};
