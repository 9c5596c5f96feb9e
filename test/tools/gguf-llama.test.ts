/** llama.cpp reads what the GGUF writer has written, and computes what our engine does. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { importLlama, llamaFolder } from "../../bench/engine/llama-package.ts";
import { CausalLm } from "../../src/model/causal-lm.ts";
import { nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import type { BlockName } from "../../tools/gguf/blocks.ts";
import { seededGguf } from "../../tools/gguf/seeded-gguf.ts";
import { writeGguf } from "../../tools/gguf/write-gguf.ts";
import { temporaryFolder } from "../support/models.ts";
import { seededModel } from "../support/seeded-models.ts";

const MISSING = existsSync(llamaFolder())
  ? ""
  : ": llama.cpp is not installed (npm run bench -- engine does)";
const folder = temporaryFolder();
afterAll(() => folder.remove());
const IDS = [5, 17, 200, 33, 1, 90, 12];

describe.skipIf(MISSING)(`llama.cpp${MISSING}`, () => {
  /** Its cache of keys and values is F16. */
  it.each(["llama", "mistral", "qwen2", "qwen3", "chatglm2"] as const)(
    "%s: the same odds",
    async (family) => {
      const { base, shape } = seededModel(folder.path, family);
      const path = join(folder.path, `${family}.gguf`);
      writeGguf(path, seededGguf(shape, { type: "F32", head: "F32" }));
      const [ours, theirs] = [await ourOdds(base), await llamaOdds(path)];
      expect(theirs.length).toBe(ours.length);
      for (const [id, odds] of ours.entries())
        expect(Math.abs(theirs[id] - odds), `id ${id}`).toBeLessThan(1e-3);
    },
  );

  it.each(["F16", "Q8_0", "Q4_0"] as const)("%s: odds as its rounding explains", async (type) => {
    const most: Partial<Record<BlockName, number>> = { F16: 1e-3, Q8_0: 0.01, Q4_0: 0.15 };
    const { base, shape } = seededModel(join(folder.path, type), "chatglm2", { seed: type });
    const path = join(folder.path, `${type}.gguf`);
    writeGguf(path, seededGguf(shape, { type, head: type, seed: type }));
    const [ours, theirs] = [await ourOdds(base), await llamaOdds(path)];
    const largest = Math.max(...ours.map((odds, id) => Math.abs(theirs[id] - odds)));
    expect(largest).toBeLessThan(most[type]!);
  });
});

async function ourOdds(base: string): Promise<number[]> {
  const model = await CausalLm.load(await openCheckpoint(nodeFileTree(base)), nodePlatform().tensors);
  const cache = model.newCache(IDS.length);
  const logits = await model.forward(IDS, cache);
  cache.dispose();
  await model.dispose();
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

async function llamaOdds(modelPath: string): Promise<number[]> {
  const { getLlama } = await importLlama(llamaFolder());
  const llama = await getLlama({
    gpu: false,
    build: "never",
    skipDownload: true,
    maxThreads: 1,
    logLevel: "error",
  });
  const model = await llama.loadModel({ modelPath, useMmap: false });
  const sequence = (await model.createContext({ contextSize: 64, threads: 1 })).getSequence();
  const last = [IDS[IDS.length - 1], { generateNext: { probabilities: true } }] as const;
  const results = await sequence.controlledEvaluate([...IDS.slice(0, -1), last]);
  const odds: number[] = [];
  for (const [id, probability] of results[results.length - 1]!.next.probabilities) odds[id] = probability;
  await llama.dispose();
  return odds;
}
