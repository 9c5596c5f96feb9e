/** A random private linear layer with both ends in one process, for tests and benches. */
import { ClientLayer } from "../../src/pll/client-layer.ts";
import { ProviderLayer } from "../../src/pll/provider-layer.ts";
import { quantizeRows } from "../../src/pll/quantize.ts";
import { setup } from "../../src/pll/setup.ts";
import { Kernels } from "../../src/ring/kernels.ts";
import { type RandomSource, systemRandom } from "../../src/ring/random-source.ts";
import { BufferPool } from "../../src/rlwe/buffer-pool.ts";
import { MaskSource } from "../../src/rlwe/mask-source.ts";
import { DEFAULT_PARAMETERS, layoutOf, weightBits } from "../../src/rlwe/parameters.ts";
import { expandLayout } from "../../src/rlwe/public-elements.ts";

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

/** What both ends hold of the layer W = quantize(real), real (rows, n). `random` feeds setup and masks. */
export function makeLayer(
  real: Float64Array,
  rows: number,
  inFeatures: number,
  options: { random?: RandomSource; runs?: readonly number[]; build?: "release" | "debug" } = {},
) {
  const random = options.random ?? systemRandom;
  const parameters = DEFAULT_PARAMETERS;
  const kernels = Kernels.load(options.build);
  const pool = new BufferPool(kernels);
  const bits = weightBits(parameters, inFeatures);
  const quantized = quantizeRows(real, rows, inFeatures, bits, options.runs ?? [rows]);
  const elements = expandLayout(kernels, pool, layoutOf(parameters, inFeatures), new Uint8Array(16), 0);
  const weights = quantized.integers;
  const secrets = setup(
    kernels,
    pool,
    { parameters, elements, weights, rows, inFeatures, context: [] },
    random,
  );
  const client = new ClientLayer(kernels, pool, new MaskSource(kernels, pool, random), {
    parameters,
    rows,
    inFeatures,
    elements,
    hint: secrets.hint,
    scales: quantized.scales,
    normBound: quantized.normBound,
  });
  const provider = new ProviderLayer(kernels, pool, {
    parameters,
    rows,
    inFeatures,
    weights,
    padding: secrets.padding,
  });
  return { parameters, kernels, pool, elements, quantized, secrets, client, provider };
}

export type TestLayer = ReturnType<typeof makeLayer>;

/** One round: query, answer, recover. x (vectors, n) → y (vectors, rows). */
export function evaluate(layer: TestLayer, x: Float32Array, vectors: number): Float32Array {
  const masks = layer.client.prepareMasks(vectors);
  const query = layer.client.makeQuery(masks, x);
  return layer.client.recoverResult(masks, layer.provider.answerQuery(query, vectors));
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
