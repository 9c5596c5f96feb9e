/** Random checkpoints of the Llama family, with whatever its config.json asks for. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bytesOf } from "../../src/base/bytes.ts";
import { encodeSafetensors } from "../../src/weights/safetensors.ts";
import type { RawConfig } from "../oracle/llama-forward.ts";
import { randomWords, seededRandom } from "../oracle/seeded-random.ts";

/** Sizes that are no multiples of each other, of 16 or of 8, where the family leaves it open. */
export const SMALL: RawConfig = {
  hidden_size: 44,
  intermediate_size: 52,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  head_dim: 10,
  num_hidden_layers: 3,
  vocab_size: 61,
  max_position_embeddings: 512,
  hidden_act: "silu",
  rms_norm_eps: 1e-5,
};

/** Writes config.json and model.safetensors (F32) into `dir`; gives the tensors. */
export function writeLlama(dir: string, raw: RawConfig, seed = "llama"): Map<string, Float32Array> {
  const shapes = shapesOf(raw);
  const random = seededRandom(seed);
  const tensors = new Map<string, Float32Array>();
  for (const [name, shape] of shapes) {
    const count = shape.reduce((product, size) => product * size, 1);
    // Products keep the size of a normed input; norms lie about 1.
    const [middle, spread] =
      shape.length === 2 ? [0, Math.sqrt(3 / shape[1])] : name.endsWith("bias") ? [0, 0.5] : [1, 0.5];
    tensors.set(
      name,
      Float32Array.from(randomWords(random, count), (word) => middle + spread * (word / 2 ** 31 - 1)),
    );
  }
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "config.json"), JSON.stringify(raw));
  const entries = [...tensors].map(([name, values]) => ({
    name,
    dtype: "F32" as const,
    shape: [...shapes.get(name)!],
    data: bytesOf(values),
  }));
  writeFileSync(join(dir, "model.safetensors"), encodeSafetensors(entries));
  return tensors;
}

/** Module paths of the linear modules of each layer. */
export function linearShapes(raw: RawConfig): Map<string, [out: number, inFeatures: number]> {
  const { hidden_size, intermediate_size, num_attention_heads, num_hidden_layers } = raw as Record<
    string,
    number
  >;
  const headDim = (raw.head_dim as number) ?? hidden_size / num_attention_heads;
  const q = num_attention_heads * headDim;
  const kv = ((raw.num_key_value_heads as number) ?? num_attention_heads) * headDim;
  const shapes = new Map<string, [number, number]>();
  for (let layer = 0; layer < num_hidden_layers; layer++) {
    const at = `model.layers.${layer}`;
    shapes.set(`${at}.self_attn.q_proj`, [q, hidden_size]);
    shapes.set(`${at}.self_attn.k_proj`, [kv, hidden_size]);
    shapes.set(`${at}.self_attn.v_proj`, [kv, hidden_size]);
    shapes.set(`${at}.self_attn.o_proj`, [hidden_size, q]);
    shapes.set(`${at}.mlp.gate_proj`, [intermediate_size, hidden_size]);
    shapes.set(`${at}.mlp.up_proj`, [intermediate_size, hidden_size]);
    shapes.set(`${at}.mlp.down_proj`, [hidden_size, intermediate_size]);
  }
  return shapes;
}

function shapesOf(raw: RawConfig): Map<string, readonly number[]> {
  const { hidden_size, vocab_size, num_hidden_layers, head_dim } = raw as Record<string, number>;
  const shapes = new Map<string, readonly number[]>();
  shapes.set("model.embed_tokens.weight", [vocab_size, hidden_size]);
  for (const [name, shape] of linearShapes(raw)) {
    shapes.set(`${name}.weight`, shape);
    const inMlp = name.includes(".mlp.");
    const ofQwen2 = !inMlp && !name.endsWith("o_proj");
    const biased = raw.model_type === "qwen2" ? ofQwen2 : inMlp ? raw.mlp_bias : raw.attention_bias;
    if (biased) shapes.set(`${name}.bias`, [shape[0]]);
  }
  for (let layer = 0; layer < num_hidden_layers; layer++) {
    const at = `model.layers.${layer}`;
    shapes.set(`${at}.input_layernorm.weight`, [hidden_size]);
    shapes.set(`${at}.post_attention_layernorm.weight`, [hidden_size]);
    if (raw.model_type !== "qwen3") continue;
    shapes.set(`${at}.self_attn.q_norm.weight`, [head_dim]);
    shapes.set(`${at}.self_attn.k_norm.weight`, [head_dim]);
  }
  shapes.set("model.norm.weight", [hidden_size]);
  if (!raw.tie_word_embeddings) shapes.set("lm_head.weight", [vocab_size, hidden_size]);
  return shapes;
}
