// What runs one shape: llama.cpp; our engine with its base in one graph, with LoRA in that graph, with the same LoRA at
// the cuts that a private run needs, and with a private adapter at a provider. Each lives in a separate process, so that
// memory can be told apart.
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Traffic } from "../../src/client/connection/traffic.ts";
import { RemoteAdapter } from "../../src/client/remote-adapter.ts";
import { RemoteProvider } from "../../src/client/remote-provider.ts";
import { fitAdapter } from "../../src/model/adapter/fit-adapter.ts";
import { LocalLora } from "../../src/model/adapter/local-lora.ts";
import { CausalLm } from "../../src/model/causal-lm.ts";
import type { LoadOptions } from "../../src/model/load-options.ts";
import type { KvCache } from "../../src/model/kv-cache.ts";
import type { ForwardTimings } from "../../src/model/run/segment-runner.ts";
import type { WeightFormat } from "../../src/model/weights/weight-source.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { coresHere } from "../../src/platform/node/cores.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { openLoraAdapter } from "../../src/weights/lora-adapter.ts";
import { benchCache } from "../seeded-model.ts";
import { importLlama } from "./llama-package.ts";

export const ENGINES = ["llama", "graph", "lora", "cut", "private"] as const;
export type EngineName = (typeof ENGINES)[number];

/** What an engine is made of: folders, and for a private one the provider. */
export interface EngineSource {
  readonly base: string;
  readonly adapter: string;
  readonly weights: WeightFormat;
  readonly gguf: string;
  /** Of llama.cpp's package. */
  readonly llama: string;
  readonly provider?: { readonly url: string; readonly baseFingerprint: Uint8Array };
}

export interface Engine {
  /** Reads ids in a new context, up to the logits of the last one, which llama.cpp keeps. */
  prompt(ids: readonly number[]): Promise<Float32Array | undefined>;
  /** One id more, up to its logits. */
  step(id: number): Promise<Float32Array | undefined>;
  /** What is done between texts, in nobody's time. */
  rest(): Promise<void>;
  /** Sums so far. */
  counters(): Counters;
  /** What does not change, and averages. */
  facts(): EngineFacts;
}

/** Milliseconds, bytes, waits for the provider that follow each other, keys. */
export type Counters = Partial<
  Pick<ForwardTimings, "modelMs" | "beginMs" | "waitMs" | "exchanges"> &
    Pick<Traffic, "bytesUp" | "bytesDown" | "keys" | "keyBytes">
>;

/** Of the private one. */
export interface EngineFacts {
  readonly groups?: number;
  readonly vectorsPerKey?: number;
  /** Of making masks, a token. */
  readonly idleMsPerToken?: number;
}

/** Tokens that a context has room for. */
export const CONTEXT_TOKENS = 2048;
/** As ours has without --threads. */
const THREADS = coresHere().usable ?? availableParallelism();
/** Of node-llama-cpp's batches; there is one sequence. */
const PRIORITY = 5;

export function openEngine(name: EngineName, source: EngineSource): Promise<Engine> {
  return { llama: openLlama, graph: openGraph, lora: openLora, cut: openCut, private: openPrivate }[name](
    source,
  );
}

async function openGraph(source: EngineSource): Promise<Engine> {
  return ownEngine(await loadBase(source));
}

async function openLora(source: EngineSource): Promise<Engine> {
  return ownEngine(await loadBase(source, { adapter: await openLoraAdapter(nodeFileTree(source.adapter)) }));
}

async function openCut(source: EngineSource): Promise<Engine> {
  const checkpoint = await openCheckpoint(nodeFileTree(source.base));
  const adapter = await openLoraAdapter(nodeFileTree(source.adapter));
  return ownEngine(await loadBase(source, { deltas: new LocalLora(await fitAdapter(adapter, checkpoint)) }));
}

async function openPrivate(source: EngineSource): Promise<Engine> {
  const { url, baseFingerprint } = source.provider!;
  const platform = nodePlatform();
  const { provider, bundle } = await RemoteProvider.connect(platform, { url, baseFingerprint });
  const { vectorsPerKey } = provider.welcome;
  const remote = new RemoteAdapter(bundle, provider, provider.limits, vectorsPerKey, platform.encryption);
  await remote.restoreKeys();
  const engine = ownEngine(await loadBase(source, { deltas: remote }));
  return {
    ...engine,
    rest: () => remote.ready(),
    counters: () => ({ ...engine.counters(), ...provider.traffic }),
    facts: () => ({ groups: remote.groups.length, vectorsPerKey, idleMsPerToken: remote.idleMsPerToken }),
  };
}

async function loadBase(
  { base, weights }: EngineSource,
  use: Pick<LoadOptions, "adapter" | "deltas"> = {},
): Promise<CausalLm> {
  return await CausalLm.load(await openCheckpoint(nodeFileTree(base)), nodePlatform().tensors, {
    ...use,
    weights,
    weightCache: nodeFileCache(join(benchCache(), "weights")),
  });
}

function ownEngine(model: CausalLm): Engine {
  let cache: KvCache | undefined;
  return {
    async prompt(ids) {
      cache?.dispose();
      cache = model.newCache();
      return await model.forward(ids, cache);
    },
    step: (id) => model.forward([id], cache!),
    rest: async () => {},
    counters: () => model.timings,
    facts: () => ({}),
  };
}

async function openLlama({ gguf, llama: folder }: EngineSource): Promise<Engine> {
  const { getLlama } = await importLlama(folder);
  const llama = await getLlama({
    gpu: false,
    build: "never",
    skipDownload: true,
    maxThreads: THREADS,
    logLevel: "error",
  });
  // Mapped pages would be read at the first token, not at load, and again for its own packed form.
  const model = await llama.loadModel({ modelPath: gguf, useMmap: false });
  const context = await model.createContext({ contextSize: CONTEXT_TOKENS, threads: THREADS });
  const sequence = context.getSequence();
  const read = async (ids: readonly number[]) => {
    const wanted = ids.map((_, i) => i === ids.length - 1);
    const shift = { size: 1, strategy: "eraseBeginning" } as const;
    await sequence._decodeTokens(ids, wanted, PRIORITY, sequence._tokenMeter, shift, async () => {});
    return undefined;
  };
  return {
    async prompt(ids) {
      await sequence.clearHistory();
      return await read(ids);
    },
    step: (id) => read([id]),
    rest: async () => {},
    counters: () => ({}),
    facts: () => ({}),
  };
}
