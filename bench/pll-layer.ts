// The private linear layer as the bench uses it: one client and one provider in this process, real messages.
import {
  BufferPool,
  ClientLayer,
  DEFAULT_PARAMETERS,
  expandLayout,
  Kernels,
  MaskSource,
  type OneTimeMasks,
  ProviderLayer,
  quantizeRows,
  setup,
  systemRandom,
} from "../src/entry/pll.ts";
import { layoutOf, weightBits } from "../src/rlwe/parameters.ts";
import { type MeasureOptions, measure, type Stage, type Timing } from "./harness.ts";

export interface PllLayer {
  readonly client: ClientLayer;
  readonly provider: ProviderLayer;
  readonly hintBytes: number;
  /** Expansion of the public elements, then setup: once per group, ms. */
  readonly expand: Timing;
  readonly setup: Timing;
}

/** W (rows, n) as float; both sides get a separate kernel instance, as in two processes. */
export function makePllLayer(
  real: Float64Array,
  rows: number,
  inFeatures: number,
  runs: MeasureOptions,
): PllLayer {
  const parameters = DEFAULT_PARAMETERS;
  const layout = layoutOf(parameters, inFeatures);
  const bundleId = new Uint8Array(16);
  systemRandom(bundleId);
  const quantized = quantizeRows(real, rows, inFeatures, weightBits(parameters, inFeatures), [rows]);
  const weights = quantized.integers;

  const clientKernels = Kernels.load();
  const clientPool = new BufferPool(clientKernels);
  const elements = expandLayout(clientKernels, clientPool, layout, bundleId, 0);
  const scratch = Kernels.load();
  const scratchPool = new BufferPool(scratch);
  const expand = measure("expand", () => expandLayout(scratch, scratchPool, layout, bundleId, 0), runs);

  const providerKernels = Kernels.load();
  const providerPool = new BufferPool(providerKernels);
  const providerElements = expandLayout(providerKernels, providerPool, layout, bundleId, 0);
  const input = { parameters, elements: providerElements, weights, rows, inFeatures, context: [bundleId] };
  const run = () => setup(providerKernels, providerPool, input, systemRandom);
  const setupTime = measure("setup", run, runs);
  const { padding, hint } = run();

  const masks = new MaskSource(clientKernels, clientPool, systemRandom);
  return {
    client: new ClientLayer(clientKernels, clientPool, masks, {
      parameters,
      rows,
      inFeatures,
      elements,
      hint,
      scales: quantized.scales,
      normBound: quantized.normBound,
    }),
    provider: new ProviderLayer(providerKernels, providerPool, {
      parameters,
      rows,
      inFeatures,
      weights,
      padding,
    }),
    hintBytes: hint.length,
    expand,
    setup: setupTime,
  };
}

/** One query's steps over T = x.length/n vectors, each timed apart; `last` is the newest result. */
export function queryStages(
  { client, provider }: PllLayer,
  x: Float32Array,
): { stages: Stage[]; last(): Float32Array } {
  const vectors = x.length / client.inFeatures;
  let masks: OneTimeMasks;
  let query: Uint8Array;
  let reply: Uint8Array;
  let u: Float32Array = new Float32Array(0);
  const stages = [
    { name: "masks", run: () => (masks = client.prepareMasks(vectors)) },
    { name: "query", run: () => (query = client.makeQuery(masks, x)) },
    { name: "answer", run: () => (reply = provider.answerQuery(query, vectors)) },
    { name: "recover", run: () => (u = client.recoverResult(masks, reply)) },
  ];
  return { stages, last: () => u };
}
