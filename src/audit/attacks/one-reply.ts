/**
 * One reply, or a key, divided by what is public. On a plain HE layer this gives every weight:
 *
 *   reply_1 = Ŵ·c_1 and c_1 = a is known, so Ŵ = reply_1·a^−1.
 *
 * Source: Tacet's own prototype. The same on Tacet: H_r·(a_0*)^−1 = S_r + E_H·(a_0*)^−1 is uniform,
 * and a reply has one word of b0 bits a row, so the best estimate of W from it is 0 nearly everywhere. *Guessing* is the
 * share of entries that somebody gets right who has nothing and always says 0: exactly for S, to within E for W.
 */
import type { Attack, AttackContext } from "../attack.ts";
import { NaiveLayer, naiveDecrypt, naiveEncrypt } from "../baseline/naive-layer.ts";
import { encryptEach, partialProducts, weightsOfProducts } from "../baseline/partial-products.ts";
import { elementOf, entriesPerQuery, readSecret } from "../key-queries.ts";
import { conjugate, invert, isUnit, multiplyNegacyclic } from "../plain-ring.ts";
import { uniformIntegers } from "../random-numbers.ts";
import { percent } from "../../base/show-number.ts";

/** Rows that are tried: all are alike, and products at n = 4096 take tens of milliseconds. */
const MOST_ROWS = 8;
/** Largest weight of the plain layers. */
const PLAIN_LARGEST = 2047;
/** Vectors that read S, to compare with. */
const SECRETS = 64;

async function run(context: AttackContext) {
  const coarse = coarseWeights(context);
  const plain = attackNaive(context, coarse);
  const partial = attackPartialProducts(context, coarse);
  const divided = await divideHint(context);
  const one = await oneHonestReply(context);
  const { integers } = context.truth;
  const guessing = share(new Float64Array(integers.length), integers, context.view.knownWithin);
  const secretGuessing = 2 ** -context.view.parameters.secretBits;
  return [
    {
      attack: "baseline",
      variant: "plain layer, one reply",
      points: [],
      facts: { exact: plain.exact, milliseconds: plain.milliseconds, correct: plain.correct ? 1 : 0 },
      finding:
        `one reply of a plain HE layer gives ${percent(plain.exact)} of a row's weights, in ` +
        `${plain.milliseconds.toFixed(1)} ms a row`,
    },
    {
      attack: "baseline",
      variant: "partial products, one query",
      points: [],
      facts: { exact: partial },
      finding: `one query for partial products gives ${percent(partial)} of the weights`,
    },
    {
      attack: "baseline",
      variant: "the same on Tacet",
      points: [],
      facts: { hintDivided: divided, secretGuessing, oneReply: one, guessing },
      finding:
        `the same on Tacet: ${percent(divided)} of S right from the hint (guessing: ${percent(secretGuessing)}), ` +
        `${percent(one)} of W from one reply (guessing: ${percent(guessing)})`,
    },
  ];
}

/** W in the few bits that a plain layer has room for beside its noise. */
function coarseWeights({ truth }: AttackContext): Int32Array {
  const largest = truth.integers.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  return truth.integers.map((value) => Math.round((value * PLAIN_LARGEST) / largest));
}

function attackNaive({ view, random }: AttackContext, weights: Int32Array) {
  const { rows, inFeatures: n } = view;
  const layer = new NaiveLayer(weights, rows, n);
  const x = uniformIntegers(random, n, -7, 7);
  const scale = 2 ** 14;
  const { key, ciphertext } = naiveEncrypt(x, layer.degree, scale, random);
  const inverse = invert(ciphertext.c1); // known before the reply comes
  let right = 0;
  let correct = true;
  let milliseconds = 0;
  const tried = Math.min(rows, MOST_ROWS);
  for (let r = 0; r < tried; r++) {
    const reply = layer.answer(ciphertext, r);
    const start = performance.now();
    const row = conjugate(multiplyNegacyclic(reply.c1, inverse));
    milliseconds += performance.now() - start;
    for (let j = 0; j < n; j++) if ((row[j] | 0) === weights[r * n + j]) right++;
    // The layer does what it is for: its answer is W·x up to noise and wrap-around.
    let exact = 0;
    for (let j = 0; j < n; j++) exact += weights[r * n + j] * x[j];
    const modulus = 2 ** 32 / scale;
    const gap = naiveDecrypt(reply, key, scale) - exact;
    correct &&= Math.abs(gap - modulus * Math.round(gap / modulus)) <= 64;
  }
  return { exact: right / (tried * n), correct, milliseconds: milliseconds / tried };
}

function attackPartialProducts({ view, random }: AttackContext, weights: Int32Array): number {
  const { rows, inFeatures: n } = view;
  const scale = 2 ** 17;
  const x = Int32Array.from(uniformIntegers(random, n, 0, 1), (bit) => (bit === 0 ? -1 : 1));
  const { s, ciphertexts } = encryptEach(x, scale, random);
  const found = new Float64Array(rows * n);
  for (let r = 0; r < rows; r++) {
    const products = partialProducts(ciphertexts, weights.subarray(r * n, (r + 1) * n));
    found.set(weightsOfProducts(products, s, x, scale), r * n);
  }
  return share(found, weights, 0);
}

/** H_r·(a_0*)^−1, its words read as entries of S; against some entries that queries read. */
async function divideHint({ view, open }: AttackContext): Promise<number> {
  const { bundleId, rows, parameters } = view;
  const a = elementOf(bundleId, 0);
  // Where a is not a unit, division by a + 1 is as good as any other try.
  if (!isUnit(a)) a[0]++;
  const inverse = invert(conjugate(a));
  const oracle = await open();
  const key = await oracle.fetchKey();
  const places = Array.from({ length: SECRETS * entriesPerQuery(parameters) }, (_, j) => j);
  const secret = await readSecret(oracle, key, places);
  const degree = parameters.ringDegree;
  const modulus = 2 ** parameters.secretBits;
  let right = 0;
  const tried = Math.min(rows, MOST_ROWS);
  for (let r = 0; r < tried; r++) {
    const row = multiplyNegacyclic(key.hint.subarray(r * degree, (r + 1) * degree), inverse);
    for (const [i, place] of places.entries()) {
      if ((row[place] - secret[r * places.length + i]) % modulus === 0) right++;
    }
  }
  return right / (tried * places.length);
}

/** The least-norm W that explains one honest answer, rounded. */
async function oneHonestReply({ view, truth, open, activations }: AttackContext): Promise<number> {
  const { rows, inFeatures: n, tensors, knownWithin } = view;
  const x = activations[0].seen.subarray(0, n);
  const oracle = await open();
  const y = await oracle.evaluate(x, 1);
  const square = x.reduce((sum, value) => sum + value * value, 0);
  const estimate = new Float64Array(rows * n);
  for (let r = 0; r < rows; r++) {
    const factor = square === 0 ? 0 : y[r] / tensors.scales[r] / square;
    for (let j = 0; j < n; j++) estimate[r * n + j] = Math.round(factor * x[j]);
  }
  return share(estimate, truth.integers, knownWithin);
}

/** Share of the integers that an estimate has right, within so much. */
function share(estimate: Float64Array, integers: Int32Array, within: number): number {
  let right = 0;
  for (const [i, value] of integers.entries()) if (Math.abs(estimate[i] - value) <= within) right++;
  return right / integers.length;
}

export const oneReply: Attack = {
  name: "baseline",
  title: "one reply: plain HE layers, and Tacet",
  source: "Tacet's own, on a prototype",
  run,
};
