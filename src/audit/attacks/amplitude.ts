/**
 * Amplitude and wrap-around: v = 2^k·e_j for every k.
 *
 *   k < 32 − b0          low bits of W_j are rounded away
 *   32 − b0 ≤ k ≤ 32 − w the reply is W_j exactly
 *   k > 32 − w           the sum wraps: W_j mod 2^(32−k)
 *
 * Source: our own. No amplitude gives more than min(w, b0) bits of a weight, nor more than b0 bits a reply.
 */
import type { Attack, AttackContext } from "../attack.ts";

/** Columns that are asked at each amplitude. */
const COLUMNS = 8;

async function run({ view, truth, open }: AttackContext) {
  const { rows, inFeatures: n, weightBits, replyBits } = view;
  const oracle = await open();
  const count = Math.min(COLUMNS, n);
  let [least, most] = [32, -1];
  let wrappedRight = 0;
  let wrappedAll = 0;
  for (let k = 0; k < 32; k++) {
    const replies = await oracle.ask(count, (t, words) => {
      words[t] = 2 ** k;
    });
    const right = replies.reduce((sum, word, i) => {
      const weight = truth.integers[(i % rows) * n + Math.floor(i / rows)];
      return sum + (agrees(word, weight, k) ? 1 : 0);
    }, 0);
    if (right === replies.length && k <= 32 - weightBits) {
      least = Math.min(least, k);
      most = Math.max(most, k);
    }
    if (k > 32 - weightBits) {
      wrappedRight += right;
      wrappedAll += replies.length;
    }
  }
  return [
    {
      attack: "amplitude",
      variant: "2^k times a unit vector",
      points: [],
      facts: {
        exactFrom: least,
        exactTo: most,
        formulaFrom: 32 - replyBits,
        formulaTo: 32 - weightBits,
        wrappedRight: wrappedRight / wrappedAll,
        bitsAtMost: Math.min(weightBits, replyBits),
      },
      finding:
        `a weight is exact from amplitude 2^${least} to 2^${most} (formula: 2^${32 - replyBits} to ` +
        `2^${32 - weightBits}); below, low bits are lost, above, high ones: at most ${weightBits} bits a reply`,
    },
  ];
}

/** Whether a reply is 2^k·W mod 2^32: all of W's bits that fit. */
function agrees(word: number, weight: number, k: number): boolean {
  return word === Math.imul(weight, 2 ** k) >>> 0;
}

export const amplitude: Attack = {
  name: "amplitude",
  title: "amplitude and wrap-around",
  source: "Tacet's own",
  run,
};
