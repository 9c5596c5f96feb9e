// The four that run one shape: our engine with its base in one graph, with LoRA in that graph, with a private adapter at
// a provider, and llama.cpp. Each lives in a separate process, so that its memory is its own.
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { RemoteAdapter } from "../../src/client/remote-adapter.ts";
import { RemoteProvider } from "../../src/client/remote-provider.ts";
import { CausalLm, type LoadOptions } from "../../src/model/causal-lm.ts";
import type { KvCache } from "../../src/model/kv-cache.ts";
import type { WeightFormat } from "../../src/model/weights/weight-source.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { openLoraAdapter } from "../../src/weights/lora-adapter.ts";
import { benchCache } from "../large/seeded-model.ts";
import { importLlama } from "./llama-package.ts";

export const ENGINES = ["llama", "graph", "lora", "private"] as const;
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
  /** Reads ids in a new context, up to the logits of the last one. */
  prompt(ids: readonly number[]): Promise<void>;
  /** One id more, up to its logits. */
  step(id: number): Promise<void>;
  /** What is done between texts, in nobody's time. */
  rest(): Promise<void>;
  /** Of the private one: bytes so far, and what idle time does for a token. */
  facts(): EngineFacts;
}

export interface EngineFacts {
  readonly bytesUp?: number;
  readonly bytesDown?: number;
  readonly idleMsPerToken?: number;
}

/** Tokens that a context has room for. */
export const CONTEXT_TOKENS = 2048;
const THREADS = availableParallelism();
/** Of node-llama-cpp's batches; there is one sequence. */
const PRIORITY = 5;

export function openEngine(name: EngineName, source: EngineSource): Promise<Engine> {
  if (name === "llama") return openLlama(source);
  return name === "private" ? openPrivate(source) : openOneGraph(name, source);
}

async function openOneGraph(name: "graph" | "lora", source: EngineSource): Promise<Engine> {
  const adapter = name === "lora" ? await openLoraAdapter(nodeFileTree(source.adapter)) : undefined;
  const model = await loadBase(source, adapter === undefined ? {} : { adapter });
  return { ...ownEngine(model), rest: async () => {}, facts: () => ({}) };
}

async function openPrivate(source: EngineSource): Promise<Engine> {
  const { url, baseFingerprint } = source.provider!;
  const { provider, bundle } = await RemoteProvider.connect(nodePlatform(), { url, baseFingerprint });
  const remote = new RemoteAdapter(bundle, provider, provider.limits, provider.welcome.vectorsPerKey);
  await remote.restoreKeys();
  const model = await loadBase(source, { deltas: remote });
  return {
    ...ownEngine(model),
    rest: () => remote.ready(),
    facts: () => ({
      bytesUp: provider.traffic.bytesUp,
      bytesDown: provider.traffic.bytesDown,
      idleMsPerToken: remote.idleMsPerToken,
    }),
  };
}

async function loadBase(
  { base, weights }: EngineSource,
  use: Pick<LoadOptions, "adapter" | "deltas">,
): Promise<CausalLm> {
  return await CausalLm.load(await openCheckpoint(nodeFileTree(base)), nodePlatform().tensors, {
    ...use,
    weights,
    weightCache: nodeFileCache(join(benchCache(), "weights")),
  });
}

function ownEngine(model: CausalLm): Pick<Engine, "prompt" | "step"> {
  let cache: KvCache | undefined;
  return {
    async prompt(ids) {
      cache?.dispose();
      cache = model.newCache(CONTEXT_TOKENS);
      await model.forward(ids, cache);
    },
    async step(id) {
      await model.forward([id], cache!);
    },
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
  };
  return {
    async prompt(ids) {
      await sequence.clearHistory();
      await read(ids);
    },
    step: (id) => read([id]),
    rest: async () => {},
    facts: () => ({}),
  };
}
