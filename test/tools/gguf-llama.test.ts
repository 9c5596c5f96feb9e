/** llama.cpp reads what the GGUF writer has written, and computes what our engine does. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { importLlama, llamaFolder } from "../../bench/engine/llama-package.ts";
import { CausalLm } from "../../src/model/causal-lm.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import type { BlockName } from "../../tools/gguf/blocks.ts";
import { folderGguf } from "../../tools/gguf/from-folder.ts";
import { placeholderTokenizer } from "../../tools/gguf/from-checkpoint.ts";
import { seededGguf } from "../../tools/gguf/seeded-gguf.ts";
import { type GgufFile, writeGguf } from "../../tools/gguf/write-gguf.ts";
import { temporaryFolder } from "../support/models.ts";
import { seededModel } from "../support/seeded-models.ts";

const MISSING = existsSync(llamaFolder())
  ? ""
  : ": llama.cpp is not installed (npm run bench -- engine does)";
const folder = temporaryFolder();
afterAll(() => folder.remove());
const IDS = [5, 17, 60, 33, 1, 9, 12];

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

  /** Whose converter does more to tensors than to rename them. Folders as the reader of GGUF has them. */
  it.each([
    ...["bloom", "falcon", "falcon-multi-query", "gpt_neox", "gpt_oss", "mpt", "qwen3_5_text"].map(
      (name) => `test/fixtures/golden-hf/${name}`,
    ),
    "test/fixtures/golden/gpt2-f32",
    "test/fixtures/mxfp4",
  ])("%s as GGUF: the same odds here and there", async (base) => {
    const path = join(folder.path, `${base.replaceAll("/", "-")}.gguf`);
    const typeOf = (name: string) =>
      base.endsWith("mxfp4") && name.endsWith("_exps.weight") ? "MXFP4" : "F32";
    writeGguf(path, withVocabulary(await folderGguf(base, { type: typeOf }), 320));
    const [ours, theirs] = [await ourOdds(path), await llamaOdds(path)];
    for (const [id, odds] of ours.entries())
      expect(Math.abs(theirs[id] - odds), `id ${id}`).toBeLessThan(1e-3);
  });

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

/** With so many tokens more, whose embeddings are 0, as it loads no model that has no token for some bytes. */
function withVocabulary({ metadata, tensors }: GgufFile, size: number): GgufFile {
  return {
    metadata: { ...metadata, ...placeholderTokenizer(size) },
    tensors: tensors.map((tensor) => {
      const [rows, width] = tensor.shape;
      if (!/^(token_embd|output)\.weight$/.test(tensor.name) || rows >= size) return tensor;
      const values = () => [...tensor.values(), new Float32Array((size - rows) * width)];
      return { ...tensor, shape: [size, width], values };
    }),
  };
}

async function ourOdds(base: string): Promise<number[]> {
  const weightCache = nodeFileCache(join(folder.path, "cache"));
  const checkpoint = await openCheckpoint(nodeFileTree(base));
  const model = await CausalLm.load(checkpoint, nodePlatform().tensors, { weightCache });
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
