// The private linear layer as the bench uses it: one client and one provider in this process, real messages.
import {
  BufferPool,
  type ClientKey,
  ClientLayer,
  DEFAULT_PARAMETERS,
  type EncryptedWeights,
  Kernels,
  type LayerSecret,
  MaskSource,
  type OneTimeMasks,
  type OpenQuery,
  ProviderLayer,
  PublicElements,
  quantizeRows,
  systemRandom,
} from "../src/entry/pll.ts";
import { weightBlocks } from "../src/rlwe/parameters.ts";
import { type MeasureOptions, measure, type Stage, type Timing } from "./harness.ts";

export interface PllLayer {
  readonly client: ClientLayer;
  readonly provider: ProviderLayer;
  readonly masks: MaskSource;
  /** One key: what the client loads, what it has loaded, and S of the provider. */
  readonly seed: Uint8Array;
  readonly encrypted: EncryptedWeights;
  readonly key: ClientKey;
  readonly secret: LayerSecret;
  readonly keyBytes: number;
  /** The client's preparation of a_0 and of its a_j: once a bundle and process. */
  readonly expand: Timing;
  /** B and H at the provider; S at the provider; B and H at the client: once a key and group. */
  readonly makeKey: Timing;
  readonly deriveSecret: Timing;
  readonly loadKey: Timing;
}

/** W (rows, n) as float; both sides get a separate kernel instance, as in two processes. */
export function makePllLayer(
  real: Float64Array,
  rows: number,
  inFeatures: number,
  runs: MeasureOptions,
): PllLayer {
  const parameters = DEFAULT_PARAMETERS;
  const bundleId = new Uint8Array(16);
  systemRandom(bundleId);
  const quantized = quantizeRows(real, rows, inFeatures, parameters.rowNorm, [rows]);
  const shape = { parameters, rows, inFeatures };

  const clientKernels = Kernels.load();
  const clientPool = new BufferPool(clientKernels);
  const elements = new PublicElements(clientKernels, clientPool, bundleId);
  const masks = new MaskSource(
    clientKernels,
    clientPool,
    parameters,
    elements.element(0, false),
    systemRandom,
  );
  const client = new ClientLayer(clientKernels, clientPool, masks, elements, {
    ...shape,
    scales: quantized.scales,
  });
  const expand = measure("expand", () => expandElements(inFeatures, bundleId), runs);

  const kernels = Kernels.load();
  const pool = new BufferPool(kernels);
  const provider = new ProviderLayer(kernels, pool, new PublicElements(kernels, pool, bundleId), {
    ...shape,
    weights: quantized.integers,
  });
  const seed = new Uint8Array(32);
  systemRandom(seed);
  const makeKey = measure("make key", () => provider.encryptWeights(seed), runs);
  const deriveSecret = measure("derive S", () => provider.releaseSecret(provider.deriveSecret(seed)), runs);
  const encrypted = provider.encryptWeights(seed);
  const loadKey = measure("load key", () => client.releaseKey(client.loadKey(encrypted)), runs);
  return {
    client,
    provider,
    masks,
    seed,
    encrypted,
    key: client.loadKey(encrypted),
    secret: provider.deriveSecret(seed),
    keyBytes: encrypted.weights.length + encrypted.hint.length,
    expand,
    makeKey,
    deriveSecret,
    loadKey,
  };
}

function expandElements(inFeatures: number, bundleId: Uint8Array): void {
  const kernels = Kernels.load();
  const elements = new PublicElements(kernels, new BufferPool(kernels), bundleId);
  elements.element(0, false);
  for (let block = 0; block < weightBlocks(inFeatures); block++) elements.element(1 + block, true);
}

/** One query's steps over T = x.length/n vectors, each timed apart; `last` is the newest result. */
export function queryStages(
  { client, provider, masks, key, secret }: PllLayer,
  x: Float32Array,
): { stages: Stage[]; last(): Float32Array } {
  const vectors = x.length / client.inFeatures;
  let mask: OneTimeMasks;
  let query: OpenQuery;
  let reply: Uint8Array;
  let u: Float32Array = new Float32Array(0);
  const stages = [
    // As a client does it: of several vectors the masks are finished with the query.
    { name: "masks", run: () => (mask = vectors === 1 ? masks.make(1) : masks.draw(vectors)) },
    { name: "query", run: () => (query = client.makeQuery(mask, x)) },
    { name: "answer", run: () => (reply = provider.answerQuery(secret, query.bytes, vectors)) },
    { name: "key (B·x̂ + H·s)", run: () => client.applyKey(query, key) },
    { name: "recover", run: () => (u = client.recoverResult(query, reply)) },
  ];
  return { stages, last: () => u };
}
