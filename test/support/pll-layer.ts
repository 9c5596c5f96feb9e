/** A random private linear layer with both ends in one process, for tests and benches. */
import { ClientLayer } from "../../src/pll/client-layer.ts";
import type { GroupMark } from "../../src/pll/marks.ts";
import { ProviderLayer } from "../../src/pll/provider-layer.ts";
import { quantizeRows } from "../../src/pll/quantize.ts";
import { Kernels } from "../../src/ring/kernels.ts";
import { type RandomSource, systemRandom } from "../../src/ring/random-source.ts";
import { BufferPool } from "../../src/rlwe/buffer-pool.ts";
import { MaskSource } from "../../src/rlwe/mask-source.ts";
import { DEFAULT_PARAMETERS } from "../../src/rlwe/parameters.ts";
import { PublicElements } from "../../src/rlwe/public-elements.ts";

/** A standard normal sampler on a small seeded generator (mulberry32). */
export function gaussianSource(seed: number): () => number {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** What both ends hold of the layer W = quantize(real), real (rows, n), with one key. `random` feeds seed and masks. */
export function makeLayer(
  real: Float64Array,
  rows: number,
  inFeatures: number,
  options: {
    random?: RandomSource;
    runs?: readonly number[];
    build?: "release" | "debug";
    mark?: GroupMark;
  } = {},
) {
  const random = options.random ?? systemRandom;
  const parameters = DEFAULT_PARAMETERS;
  const kernels = Kernels.load(options.build);
  const pool = new BufferPool(kernels);
  const quantized = quantizeRows(real, rows, inFeatures, parameters.rowNorm, options.runs ?? [rows]);
  const elements = new PublicElements(kernels, pool, new Uint8Array(16));
  const masks = new MaskSource(kernels, pool, parameters, elements.element(0, false), random);
  const shape = { parameters, rows, inFeatures };
  const client = new ClientLayer(kernels, pool, masks, elements, { ...shape, scales: quantized.scales });
  const provider = new ProviderLayer(kernels, pool, elements, { ...shape, weights: quantized.integers });
  const seed = new Uint8Array(32);
  random(seed);
  const encrypted = provider.encryptWeights(seed, options.mark);
  const key = client.loadKey(encrypted);
  const secret = provider.deriveSecret(seed);
  return {
    parameters,
    kernels,
    pool,
    elements,
    masks,
    quantized,
    client,
    provider,
    seed,
    encrypted,
    key,
    secret,
  };
}

export type TestLayer = ReturnType<typeof makeLayer>;

/** One round: query, answer, recover. x (vectors, n) → y (vectors, rows). */
export function evaluate(layer: TestLayer, x: Float32Array, vectors: number): Float32Array {
  const { client, provider, masks, key, secret } = layer;
  const query = client.makeQuery(masks.make(vectors), x);
  const reply = provider.answerQuery(secret, query.bytes, vectors);
  client.applyKey(query, key);
  return client.recoverResult(query, reply);
}

/** W·x in float64, (vectors, rows). */
export function exactProduct(
  real: ArrayLike<number>,
  x: Float32Array,
  rows: number,
  n: number,
  vectors: number,
): Float64Array {
  const y = new Float64Array(vectors * rows);
  for (let t = 0; t < vectors; t++) {
    for (let r = 0; r < rows; r++) {
      let sum = 0;
      for (let j = 0; j < n; j++) sum += real[r * n + j] * x[t * n + j];
      y[t * rows + r] = sum;
    }
  }
  return y;
}

/** Math.hypot of any number of values: it takes them as arguments, of which there may be too many. */
function normOf(values: Float32Array | Float64Array): number {
  let norm = 0;
  for (let i = 0; i < values.length; i += 4096) norm = Math.hypot(norm, ...values.subarray(i, i + 4096));
  return norm;
}

/** Largest error relative to ‖x‖·(largest row norm): what a wrap would blow up to about 1. */
export function worstError(
  real: Float64Array,
  x: Float32Array,
  y: Float32Array,
  rows: number,
  n: number,
): number {
  const vectors = x.length / n;
  const exact = exactProduct(real, x, rows, n, vectors);
  const rowNorms = Array.from({ length: rows }, (_, r) => normOf(real.subarray(r * n, (r + 1) * n)));
  const rowNorm = Math.max(...rowNorms);
  let worst = 0;
  for (let t = 0; t < vectors; t++) {
    const norm = normOf(x.subarray(t * n, (t + 1) * n));
    if (norm === 0) continue;
    for (let r = 0; r < rows; r++) {
      worst = Math.max(worst, Math.abs(y[t * rows + r] - exact[t * rows + r]) / (rowNorm * norm));
    }
  }
  return worst;
}
