/** The Llama family against a forward pass written from its definition, with each of the options that it knows. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { llamaForward, type RawConfig, type Weights } from "../../../test/oracle/llama-forward.ts";
import { randomWords, seededRandom } from "../../../test/oracle/seeded-random.ts";
import { linearShapes, SMALL, writeLlama } from "../../../test/support/llama-checkpoint.ts";
import { nodeFileTree } from "../../platform/node/files/file-tree.ts";
import { nodeTensorRuntime } from "../../platform/node/tensors.ts";
import { openCheckpoint } from "../../weights/checkpoint.ts";
import type { LoraAdapter, LoraModule } from "../../weights/lora-adapter.ts";
import { openLoraAdapter } from "../../weights/lora-adapter.ts";
import { readTensorF32 } from "../../weights/safetensors.ts";
import { groupAdaptedModules } from "../adapter/adapted-groups.ts";
import { LocalLora } from "../adapter/local-lora.ts";
import { CausalLm } from "../causal-lm.ts";
import { inputGroupsOf } from "../config-facts.ts";
import type { LoadOptions } from "../load-options.ts";

const folder = mkdtempSync(join(tmpdir(), "tacet-llama-"));
const models: CausalLm[] = [];
afterAll(async () => {
  await Promise.all(models.map((model) => model.dispose()));
  rmSync(folder, { recursive: true });
});

async function load(dir: string, options?: LoadOptions): Promise<CausalLm> {
  const checkpoint = await openCheckpoint(nodeFileTree(dir));
  const model = await CausalLm.load(checkpoint, nodeTensorRuntime(), options);
  models.push(model);
  return model;
}

/** Logits of all positions, read in parts of this size. */
async function logitsOf(model: CausalLm, ids: readonly number[], part: number): Promise<number[]> {
  const cache = model.newCache(1);
  const logits: number[] = [];
  for (let at = 0; at < ids.length; at += part) {
    logits.push(...(await model.forwardAll(ids.slice(at, at + part), cache)));
  }
  return logits;
}

/** The bounds of the golden README, for values of a size of about 1. */
function expectClose(got: ArrayLike<number>, want: readonly number[], bound = 5e-5): void {
  expect(got.length).toBe(want.length);
  const worst = want.reduce((most, w, i) => Math.max(most, Math.abs(got[i] - w) / (1 + Math.abs(w))), 0);
  expect(worst).toBeLessThan(bound);
}

const randomIds = (raw: RawConfig, count: number) =>
  Array.from(randomWords(seededRandom("ids"), count), (word) => word % (raw.vocab_size as number));

const llama = { ...SMALL, architectures: ["LlamaForCausalLM"], model_type: "llama" };
const mistral = { ...SMALL, architectures: ["MistralForCausalLM"], model_type: "mistral" };
const qwen2 = { ...SMALL, architectures: ["Qwen2ForCausalLM"], model_type: "qwen2" };
const qwen3 = { ...SMALL, architectures: ["Qwen3ForCausalLM"], model_type: "qwen3" };
const llama3 = {
  rope_type: "llama3",
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 64,
};
const { head_dim: _, ...noHeadDim } = { ...llama, hidden_size: 72 } as Record<string, unknown>;
const windows = { use_sliding_window: true, sliding_window: 9 };

const CASES: Record<string, RawConfig> = {
  llama: llama,
  "llama, heads of hidden_size / heads, each its own keys": { ...noHeadDim, num_key_value_heads: 6 },
  "llama, no num_key_value_heads": { ...noHeadDim, num_key_value_heads: null },
  "llama, biases, tied": { ...llama, attention_bias: true, mlp_bias: true, tie_word_embeddings: true },
  "llama, attention_bias only": { ...llama, attention_bias: true },
  "llama, linear scaling": { ...llama, rope_scaling: { type: "linear", factor: 4 } },
  "llama, llama3 scaling": { ...llama, rope_theta: 500, rope_scaling: llama3 },
  "llama, rope_parameters": { ...llama, rope_parameters: { ...llama3, rope_theta: 500 }, dtype: "float32" },
  "llama, head_dim 64": { ...llama, head_dim: 64, num_hidden_layers: 1 },
  "mistral, no window": { ...mistral, sliding_window: null },
  "mistral, window 1": { ...mistral, sliding_window: 1 },
  "mistral, window 2": { ...mistral, sliding_window: 2 },
  "mistral, window 16, head_dim 16": { ...mistral, head_dim: 16, sliding_window: 16 },
  "mistral, window as long as the context": { ...mistral, sliding_window: 40 },
  qwen2: { ...qwen2, tie_word_embeddings: true, use_sliding_window: false, sliding_window: 4 },
  "qwen2, window in later layers": { ...qwen2, ...windows, max_window_layers: 1 },
  "qwen2, window by layer_types": {
    ...qwen2,
    ...windows,
    layer_types: ["sliding_attention", "full_attention", "sliding_attention"],
  },
  qwen3: { ...qwen3, rope_theta: 1e6, tie_word_embeddings: true },
  "qwen3, head_dim 16, one key head": { ...qwen3, head_dim: 16, num_key_value_heads: 1 },
  "qwen3, biases, window": { ...qwen3, ...windows, attention_bias: true, max_window_layers: 2 },
};

describe.each(Object.entries(CASES))("%s", (name, raw) => {
  it("gives the logits of the definition, however the context is read", async () => {
    const dir = join(folder, name.replaceAll(/\W+/g, "-"));
    const weights = writeLlama(dir, raw, name);
    const ids = randomIds(raw, 40);
    const want = llamaForward(raw, weights, ids).logits.flat();
    const model = await load(dir);
    for (const part of [40, 11, 1]) expectClose(await logitsOf(model, ids, part), want);
  });
});

it("keeps the window where the context is many times longer", async () => {
  const raw = { ...mistral, num_hidden_layers: 2, sliding_window: 33, vocab_size: 20 };
  const dir = join(folder, "long");
  const weights = writeLlama(dir, raw);
  const ids = randomIds(raw, 300);
  const want = llamaForward(raw, weights, ids).logits.flat();
  const model = await load(dir);
  for (const part of [300, 64]) expectClose(await logitsOf(model, ids, part), want);
});

describe.each([
  { ...mistral, sliding_window: 9 },
  { ...qwen2, ...windows, max_window_layers: 1 },
  { ...qwen3, ...windows, max_window_layers: 1 },
] as RawConfig[])("$model_type with all seven modules adapted", (raw) => {
  it("gives the logits of the merged weights, cut into segments", async () => {
    const dir = join(folder, `${raw.model_type}-adapted`);
    const weights = writeLlama(dir, raw);
    const adapter = randomLora(raw);
    const groups = groupAdaptedModules(
      adapter.modules.values(),
      inputGroupsOf(await openCheckpoint(nodeFileTree(dir))),
    );
    expect(groups).toHaveLength(4 * (raw.num_hidden_layers as number));
    const ids = randomIds(raw, 24);
    const want = llamaForward(raw, merged(weights, adapter), ids).logits.flat();
    const model = await load(dir, { deltas: new LocalLora({ ...adapter, groups }) });
    for (const part of [24, 1]) expectClose(await logitsOf(model, ids, part), want);
  });
});

describe("the definition", () => {
  const golden = fileURLToPath(new URL("../../../test/fixtures/golden", import.meta.url));
  const families = readdirSync(golden).filter((name) => /llama|mistral|qwen/.test(name));

  it.each(families)("gives the golden numbers of %s, layer by layer", async (name) => {
    const dir = join(golden, name);
    const want = JSON.parse(readFileSync(join(dir, "expected.json"), "utf8"));
    const { config, weights } = await readAll(dir);
    const adapter = await openLoraAdapter(nodeFileTree(join(dir, "adapter")));
    for (const [suffix, used] of [
      ["", weights],
      ["_adapter", merged(weights, adapter)],
    ] as const) {
      const { logits, hidden } = llamaForward(config, used, want.input_ids);
      expectClose(logits.at(-1)!, want[`logits_last${suffix}`], 1e-5);
      for (const [i, rows] of hidden.entries())
        expectClose(rows.at(-1)!, want[`hidden_last${suffix}`][i], 1e-5);
    }
  });
});

async function readAll(dir: string): Promise<{ config: RawConfig; weights: Map<string, Float32Array> }> {
  const checkpoint = await openCheckpoint(nodeFileTree(dir));
  const weights = new Map<string, Float32Array>();
  for (const name of checkpoint.names) {
    weights.set(name, await readTensorF32(checkpoint.tree, checkpoint.tensor(name)));
  }
  return { config: checkpoint.config, weights };
}

function randomLora(raw: RawConfig): LoraAdapter {
  const random = seededRandom("lora");
  const matrix = (rows: number, columns: number) =>
    Float32Array.from(
      randomWords(random, rows * columns),
      (word) => (word / 2 ** 31 - 1) / Math.sqrt(columns),
    );
  const modules = new Map<string, LoraModule>();
  for (const [name, [outFeatures, inFeatures]] of linearShapes(raw)) {
    const rank = 1 + (modules.size % 3);
    const [a, b] = [matrix(rank, inFeatures), matrix(outFeatures, rank)];
    modules.set(name, { name, rank, scale: 0.7, inFeatures, outFeatures, a, b });
  }
  return { modules };
}

/** W + scale·B·A, in float64. */
function merged(weights: Weights, { modules }: LoraAdapter): Weights {
  const all = new Map(weights);
  for (const { name, a, b, rank, scale, inFeatures } of modules.values()) {
    const sum = Float64Array.from(all.get(`${name}.weight`)!, (value, i) => {
      const [row, column] = [Math.floor(i / inFeatures), i % inFeatures];
      for (let k = 0; k < rank; k++) value += scale * b[row * rank + k] * a[k * inFeatures + column];
      return value;
    });
    all.set(`${name}.weight`, sum);
  }
  return all;
}
