// What a long context costs: decode steps behind 128 … 4096 tokens, with the cache's memory, and how much of a step
// is this repository's own code. Qwen2.5-0.5B's shape with seeded weights: two layers, or all with --full.
import { CausalLm } from "../src/model/causal-lm.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../src/platform/node.ts";
import { openCheckpoint } from "../src/weights/checkpoint.ts";
import {
  type BenchOptions,
  formatBytes,
  formatMs,
  formatTiming,
  markdownTable,
  measureAsync,
  type Section,
} from "./harness.ts";
import { benchCache, CASES, seededFolders } from "./seeded-model.ts";

const CONTEXTS = [128, 1024, 4096];

export async function run({ quick, full, weights = "int4" }: BenchOptions): Promise<Section[]> {
  const each = CASES.find(({ shape }) => shape === "qwen2.5-0.5b")!;
  const { base, shape } = seededFolders(each, full ? undefined : each.smallLayers);
  const contexts = quick ? CONTEXTS.slice(0, 2) : CONTEXTS;
  const model = await CausalLm.load(await openCheckpoint(nodeFileTree(base)), nodePlatform().tensors, {
    weights,
    weightCache: nodeFileCache(`${benchCache()}/weights`),
    contextLength: 8192,
  });
  try {
    const rows: string[][] = [];
    for (const context of contexts) rows.push(await measureContext(model, context, quick));
    return [
      {
        title: `${shape.layers} layers of ${each.shape}, ${weights}`,
        body: markdownTable(
          ["context", "prefill, a token", "decode step", "of it our code", "cache in use", "cache allocated"],
          rows,
        ),
      },
    ];
  } finally {
    await model.dispose();
  }
}

async function measureContext(model: CausalLm, context: number, quick: boolean): Promise<string[]> {
  const cache = model.newCache();
  const ids = Array.from({ length: context }, (_, i) => (i * 7919 + 13) % model.config.vocabSize);
  const start = performance.now();
  await model.forward(ids, cache);
  const prefill = performance.now() - start;
  const before = model.timings;
  let steps = 0;
  let total = 0;
  const timing = await measureAsync(
    "decode",
    async () => {
      const begin = performance.now();
      await model.forward([ids[steps % context]], cache);
      total += performance.now() - begin;
      steps++;
      cache.truncate(context);
    },
    quick ? { minRuns: 5, minMs: 100 } : { minRuns: 40, minMs: 2000 },
  );
  const inSessions = model.timings.modelMs - before.modelMs;
  const used = (cache.bytes / cache.capacity) * context;
  const row = [
    `${context}`,
    formatMs(prefill / context),
    formatTiming(timing),
    formatMs((total - inSessions) / steps),
    formatBytes(used),
    formatBytes(cache.bytes),
  ];
  cache.dispose();
  return row;
}
