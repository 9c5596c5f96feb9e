/**
 * Replays and near-replays. The same bytes get the same reply: nothing new. Two ways to vary a query a little:
 *
 * - a known dither: v_t = 2^k·e_i + d_t with W·d_t known from before and k so small that replies cut bits of W_i; each
 *   reply is an interval for W_i, and the intervals narrow to the missing bits, one by one and query by query;
 * - an honest query again under fresh masks: noise averages out, error falls as 1/√T on one and the same W·x.
 *
 * Source: our own. Either is worth far less than a fresh query, which gives up to b0 bits a row.
 */
import type { Attack, AttackContext } from "../attack.ts";
import type { Oracle } from "../oracle.ts";

const REPLAYS = 64;
/** Bits of the weight that one reply of the dithered attack loses. */
const LOST_BITS = 6;

async function run(context: AttackContext) {
  const { view } = context;
  const oracle = await context.open();
  const same = await sameBytes(oracle);
  const dithered = await dither(context, oracle);
  const averaged = await average(context, oracle);
  return [
    {
      attack: "replay",
      variant: `${REPLAYS} near-replays`,
      points: [],
      facts: {
        sameReply: same ? 1 : 0,
        ditherBits: dithered,
        ditherBitsPerQuery: dithered / REPLAYS,
        freshBitsPerQuery: view.weightBits,
        averagingGain: averaged,
        averagingBitsPerQuery: Math.log2(averaged) / REPLAYS,
      },
      finding:
        `the same bytes ${same ? "get the same reply" : "get ANOTHER reply"}; ${REPLAYS} dithered replays give ` +
        `${(dithered / REPLAYS).toFixed(2)} bits of a row each, a fresh query ${view.weightBits}; ${REPLAYS} honest ` +
        `replays average the noise down ${averaged.toFixed(1)}-fold, ${Math.log2(averaged).toFixed(1)} bits in all`,
    },
  ];
}

async function sameBytes(oracle: Oracle): Promise<boolean> {
  const { rows, layout } = oracle.view;
  const replies = await oracle.ask(2, (_, words) => {
    for (let i = 0; i < layout.words; i++) words[i] = Math.imul(i + 1, 0x9e3779b1);
  });
  return replies.subarray(0, rows).every((word, r) => word === replies[rows + r]);
}

/** Mean number of bits of W_0 known after the replays, by how many integers are still possible in each row. */
async function dither({ view, truth }: AttackContext, oracle: Oracle): Promise<number> {
  const { rows, inFeatures: n, weightBits, replyBits } = view;
  const k = 32 - replyBits - LOST_BITS;
  const helper = 1; // column 1 was asked before, as any thief would: exact by its unit query
  const unit = 2 ** (32 - weightBits);
  const known = await oracle.ask(1, (_, words) => {
    words[helper] = unit;
  });
  const shifts = Uint32Array.from({ length: REPLAYS }, (_, t) => Math.imul(t, 0x51) << 4);
  const replies = await oracle.ask(REPLAYS, (t, words) => {
    words[0] = 2 ** k;
    words[helper] = shifts[t];
  });
  const limit = 2 ** (weightBits - 1);
  const cell = 2 ** (32 - replyBits);
  let bits = 0;
  for (let r = 0; r < rows; r++) {
    const helperWeight = Math.round((known[r] | 0) / unit);
    const possible: number[] = [];
    for (let value = -limit; value < limit; value++) {
      let fits = true;
      for (let t = 0; t < REPLAYS && fits; t++) {
        const sum = (Math.imul(value, 2 ** k) + Math.imul(helperWeight, shifts[t])) >>> 0;
        fits = ((sum + cell / 2) >>> 0) - (((sum + cell / 2) >>> 0) % cell) === replies[t * rows + r];
      }
      if (fits) possible.push(value);
    }
    if (!possible.includes(truth.integers[r * n])) continue;
    bits += weightBits - Math.log2(possible.length);
  }
  return bits / rows;
}

/** By how much the error of one W·x falls when the honest query is repeated. */
async function average({ view, truth, activations }: AttackContext, oracle: Oracle): Promise<number> {
  const { rows, inFeatures: n, tensors } = view;
  const x = activations[0].seen.subarray(0, n);
  const copies = new Float32Array(REPLAYS * n);
  for (let t = 0; t < REPLAYS; t++) copies.set(x, t * n);
  const y = await oracle.evaluate(copies, REPLAYS);
  let single = 0;
  let mean = 0;
  for (let r = 0; r < rows; r++) {
    let exact = 0;
    for (let j = 0; j < n; j++) exact += truth.integers[r * n + j] * x[j];
    exact *= tensors.scales[r];
    let sum = 0;
    for (let t = 0; t < REPLAYS; t++) {
      single += (y[t * rows + r] - exact) ** 2 / REPLAYS;
      sum += y[t * rows + r];
    }
    mean += (sum / REPLAYS - exact) ** 2;
  }
  return Math.sqrt(single / Math.max(mean, Number.MIN_VALUE));
}

export const nearReplay: Attack = {
  name: "replay",
  title: "replays and near-replays",
  source: "Tacet's own",
  run,
};
