/** GGUF files of golden models: the original's answers in F32, and what their own blocks explain in fewer bits. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { withOtherFields } from "../../test/support/gguf-values.ts";
import { goldenHfFolder, goldenHfNames, goldenHfOf } from "../../test/support/golden-hf.ts";
import { BLOCKS, type BlockName } from "../../tools/gguf/blocks.ts";
import { folderGguf, type FolderGgufOptions } from "../../tools/gguf/from-folder.ts";
import { ggufBytes, writeGguf } from "../../tools/gguf/write-gguf.ts";
import { TacetError } from "../base/errors.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../platform/node.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { FAMILIES } from "../weights/gguf/families.ts";
import { openLoraAdapter } from "../weights/lora-adapter.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import { encodeSafetensors, readTensorF32 } from "../weights/safetensors.ts";
import { describeDecoder } from "./architectures/registry.ts";
import { CausalLm } from "./causal-lm.ts";
import type { LoadOptions } from "./load-options.ts";

const dir = mkdtempSync(join(tmpdir(), "tacet-gguf-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const weightCache = nodeFileCache(join(dir, "cache"));
const models: CausalLm[] = [];
afterEach(async () => {
  await Promise.all(models.splice(0).map((model) => model.dispose()));
});

async function load(path: string, options: LoadOptions = {}): Promise<CausalLm> {
  const checkpoint = await openCheckpoint(nodeFileTree(path));
  const model = await CausalLm.load(checkpoint, nodePlatform().tensors, { weightCache, ...options });
  models.push(model);
  return model;
}

let files = 0;
async function ggufOf(folder: string, options: FolderGgufOptions = {}): Promise<string> {
  const path = join(dir, `${files++}-${basename(folder)}.gguf`);
  writeGguf(path, await folderGguf(folder, options));
  return path;
}

const configOf = (folder: string) => JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));

/** A folder with other fields in config.json: what the family's GGUF files do not say, as llama.cpp takes it. */
function withConfig(folder: string, fields: Record<string, unknown>): string {
  const copy = join(dir, `${files++}-${basename(folder)}`);
  cpSync(folder, copy, { recursive: true });
  writeFileSync(join(copy, "config.json"), JSON.stringify({ ...configOf(folder), ...fields }));
  return copy;
}

/** What llama.cpp has no key for, in these models. */
const UNSAID: Record<string, (config: { head_dim: number }) => Record<string, unknown>> = {
  // Of Gemma's own models it is the heads' size, or another that it knows by their number of layers.
  gemma2: ({ head_dim }) => ({ query_pre_attn_scalar: head_dim }),
  gemma3_text: ({ head_dim }) => ({ query_pre_attn_scalar: head_dim }),
  "qwen2-window": () => ({ use_sliding_window: false, layer_types: null }),
  smollm3: () => ({ no_rope_layers: null }),
  mpt: () => ({ attn_config: { alibi: true } }),
};

const written = new Set(FAMILIES.map(({ architecture }) => architecture));
const NAMES = goldenHfNames().filter((name) => {
  const { architectures, rope_parameters, alibi } = configOf(goldenHfFolder(name));
  // Neither is there in the format, nor in llama.cpp.
  return written.has(architectures[0]) && rope_parameters?.rope_type !== "dynamic" && alibi !== true;
});

function expectClose(got: Float32Array, want: ArrayLike<number>): void {
  const share = Array.from(want, (value, i) => Math.abs(got[i] - value) / (2e-4 + 1e-4 * Math.abs(value)));
  expect(Math.max(...share)).toBeLessThan(1);
}

describe.each(NAMES)("%s, in F32", (name) => {
  const { input_ids: prompt, ...golden } = goldenHfOf(name);
  const folder = goldenHfFolder(name);
  const adapterFolder = join(folder, "adapter");
  const unsaid = UNSAID[basename(name)]?.(configOf(folder));

  it("has the logits of transformers, without and with an adapter that was made for the original", async () => {
    const path = await ggufOf(folder);
    const adapter = await openLoraAdapter(nodeFileTree(adapterFolder));
    const alone = await load(path);
    const adapted = await load(path, { adapter });
    const logits = [alone, adapted].map((model) => model.forward(prompt, model.newCache()));
    if (unsaid === undefined) {
      expectClose(await logits[0], golden.logits_last);
      expectClose(await logits[1], golden.logits_last_adapter);
      return;
    }
    const original = withConfig(folder, unsaid);
    for (const [i, options] of [{}, { adapter }].entries()) {
      const model = await load(original, options);
      expectClose(await logits[i], await model.forward(prompt, model.newCache()));
    }
  });
});

/** Checkpoints that are not in golden-hf, of the same fields. */
const OTHERS = { "test/fixtures/golden/gpt2-f32": "F32", "test/fixtures/mxfp4": "MXFP4" } as const;

describe.each(Object.entries(OTHERS))("%s, experts or all in %s", (folder, type) => {
  const golden = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8"));
  /** gpt-oss's experts alone are published in MXFP4, which the fixture's numbers are. */
  const typeOf = (name: string) => (name.endsWith("_exps.weight") ? type : "F32");

  it("has the logits of transformers, without and with an adapter that was made for the original", async () => {
    const path = await ggufOf(folder, { type: typeOf });
    const adapter = await openLoraAdapter(nodeFileTree(join(folder, "adapter")));
    for (const [want, options] of [
      [golden.logits_last, {}],
      [golden.logits_last_adapter, { adapter }],
    ]) {
      // As numbers, not as blocks: transformers does not round activations.
      const model = await load(type === "F32" ? path : await dequantized(path, folder), options);
      expectClose(await model.forward(golden.input_ids, model.newCache()), want);
    }
  });
});

it("Qwen3.5's layer behind the others, which guesses the token after the next, is left aside", async () => {
  const folder = "test/fixtures/golden-hf/qwen3_5_text";
  const file = await folderGguf(folder);
  const layers = configOf(folder).num_hidden_layers as number;
  const extra = (name: string) => ({
    name: `blk.${layers}.${name}.weight`,
    ...{ shape: [2, 2], type: "F32" as const, values: () => [new Float32Array(4)] },
  });
  const path = join(dir, "guessing.gguf");
  writeGguf(path, {
    metadata: {
      ...file.metadata,
      "qwen35.block_count": ["uint32", layers + 1],
      "qwen35.nextn_predict_layers": ["uint32", 1],
    },
    tensors: [...file.tensors, extra("nextn.eh_proj"), extra("attn_q")],
  });
  const { input_ids: prompt, logits_last: want } = JSON.parse(
    readFileSync(join(folder, "expected.json"), "utf8"),
  );
  const model = await load(path);
  expectClose(await model.forward(prompt, model.newCache()), want);
});

it.each(["llama-bias", "qwen3_5_text"])(
  "%s: a file that has more layers than it says is refused",
  async (name) => {
    const file = await folderGguf(`test/fixtures/golden-hf/${name}`);
    const [, arch] = file.metadata["general.architecture"];
    const path = join(dir, `short-${name}.gguf`);
    writeGguf(path, { ...file, metadata: { ...file.metadata, [`${arch}.block_count`]: ["uint32", 1] } });
    await expect(load(path)).rejects.toMatchObject({
      code: "bad_checkpoint",
      message: expect.stringMatching(/speaks of 1 layers only/),
    });
  },
);

/** The folder with every weight as a GGUF file of it has it, in F32. */
async function dequantized(path: string, folder: string): Promise<string> {
  const checkpoint = await openCheckpoint(nodeFileTree(path));
  const out = join(dir, `${files++}-dequantized`);
  mkdirSync(out);
  writeFileSync(join(out, "config.json"), readFileSync(join(folder, "config.json")));
  const tensors = await Promise.all(
    checkpoint.names.map(async (name) => {
      const values = await readTensorF32(checkpoint.tree, checkpoint.tensor(name));
      const data = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      return { name, dtype: "F32" as const, shape: checkpoint.tensor(name).shape, data };
    }),
  );
  writeFileSync(join(out, "model.safetensors"), encodeSafetensors(tensors));
  return out;
}

const rms = (values: Float32Array) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
const distance = (got: Float32Array, want: Float32Array) => rms(got.map((v, i) => v - want[i])) / rms(want);

const KINDS = (Object.keys(BLOCKS) as BlockName[]).filter((name) => BLOCKS[name].values > 1);

describe.each([
  ["the embedded model", "models/lexicon/base"],
  ["a Llama", "test/fixtures/golden/llama-f32"],
])("%s in blocks", (_, folder) => {
  const width = configOf(folder).hidden_size as number;
  const prompt = Array.from({ length: 24 }, (_, i) => 5 + ((i * 37) % 290));
  const logitsOf = async (model: CausalLm) => await model.forward(prompt, model.newCache());

  it.each(KINDS.filter((kind) => width % BLOCKS[kind].values === 0))(
    "%s: computes with what the file says",
    async (kind) => {
      const path = await ggufOf(folder, { type: kind });
      const got = await logitsOf(await load(path));
      const exact = await logitsOf(await load(await dequantized(path, folder)));
      const original = await logitsOf(await load(folder));
      const [ours, files] = [distance(got, exact), distance(exact, original)];
      console.log(
        `${basename(folder)} ${kind}: ${ours.toFixed(4)} from the file's own weights, which are ${files.toFixed(4)} from the original`,
      );
      // Activations are rounded to 8 bits, and what has minima is held in 8 bits.
      expect(ours).toBeLessThan(0.04);
      expect(distance(got, original)).toBeLessThan(1.2 * files + 0.04);
    },
  );
});

// Sizes by layer, scaled positions, experts, and a family that is told by a field.
it.each([
  "phi3",
  "gemma4_text",
  "llama-yarn",
  "qwen2_moe",
  "ministral3",
  "gpt_oss",
  "qwen3_5_text",
  "falcon",
  "bloom",
  "mpt",
])("%s with fields of other values is described, or refused by name", async (family) => {
  const good = await folderGguf(`test/fixtures/golden-hf/${family}`);
  const fields = Object.keys(good.metadata).filter((field) => !field.startsWith("tokenizer."));
  await fc.assert(
    fc.asyncProperty(withOtherFields(good.metadata, fields), async (metadata) => {
      try {
        const tree = memoryFileTree({ "m.gguf": ggufBytes({ ...good, metadata }) });
        const checkpoint = await openCheckpoint(tree);
        describeDecoder(checkpoint);
        for (const name of checkpoint.names) await readTensorF32(checkpoint.tree, checkpoint.tensor(name));
      } catch (error) {
        if (!(error instanceof TacetError)) throw error;
        expect(error.message).toMatch(/m\.gguf|config\.json|tensor/);
      }
    }),
    { numRuns: process.env.SLOW ? 5_000 : 100 },
  );
});
