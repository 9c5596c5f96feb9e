/** config.json as transformers would have it, of a GGUF file's metadata. */

import { TacetError } from "../../base/errors.ts";
import type { JsonRecord } from "../json-file.ts";
import { decodeBlocks } from "./decode-blocks.ts";
import type { Family } from "./families/family.ts";
import { headSize, keyValueHeads } from "./family-fields.ts";
import type { Metadata } from "./metadata.ts";
import { isRead } from "./tensor-kinds.ts";

/** Factors that angles are divided by, which llama.cpp keeps as tensors. */
export const ROPE_TENSORS = ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

/** @throws TacetError bad_checkpoint for a field that is missing or of the wrong kind, unsupported_model */
export async function configOf(m: Metadata, family: Family, endIds: readonly number[]): Promise<JsonRecord> {
  const headDim = headSize(m);
  const hasOwnHead = m.file.tensors.has("output.weight");
  const vocabulary = m.file.tensors.get("token_embd.weight")?.shape[0];
  if (vocabulary === undefined) {
    throw new TacetError("bad_checkpoint", `${m.file.path} has no tensor "token_embd.weight"`, {
      hint: "it is not a language model, or only a part of one: download it again",
    });
  }
  m.demand(".attention.causal", [true]);
  m.demand(".pooling_type", [0]);
  const rotated = m.count(".rope.dimension_count", headDim);
  const layerNorm = family.epsilon !== undefined && family.modelType !== "chatglm";
  const epsilon = m.positive(
    layerNorm ? ".attention.layer_norm_epsilon" : ".attention.layer_norm_rms_epsilon",
  );
  return {
    architectures: [family.architecture],
    model_type: family.modelType,
    hidden_size: m.count(".embedding_length"),
    num_hidden_layers: layerCount(m, family),
    ...(family.variesByLayer
      ? {}
      : { intermediate_size: m.count(".feed_forward_length"), num_key_value_heads: keyValueHeads(m) }),
    num_attention_heads: m.count(".attention.head_count"),
    head_dim: headDim,
    max_position_embeddings: m.count(".context_length"),
    vocab_size: vocabulary,
    padded_vocab_size: vocabulary,
    tie_word_embeddings: !hasOwnHead,
    [family.epsilon ?? "rms_norm_eps"]: epsilon,
    ...(family.partialRotary || rotated !== headDim ? { partial_rotary_factor: rotated / headDim } : {}),
    rope_theta: m.positive(".rope.freq_base", 10000),
    ...(family.rope?.(m, (await factorsOf(m, ROPE_TENSORS[0])) ?? []) ?? {
      rope_scaling: await ropeScaling(m),
    }),
    ...family.config?.(m),
    ...(endIds.length === 0 ? {} : { eos_token_id: endIds }),
  };
}

/** Layers that transformers' class reads. */
export function layerCount(m: Metadata, { extraLayers }: Family): number {
  return m.count(".block_count") - (extraLayers?.(m) ?? 0);
}

/** `rope_scaling`; null: angles are as they are. */
async function ropeScaling(m: Metadata): Promise<JsonRecord | null> {
  const [freqs, long, short] = await Promise.all(ROPE_TENSORS.map((name) => factorsOf(m, name)));
  // Llama 3's own scaling, as factors that do not depend on the length of the text.
  if (freqs?.some((factor) => factor !== 1)) {
    if (scalingType(m) !== "none") throw m.unsupported(".rope.scaling.type", "besides rope_freqs");
    return {
      rope_type: "longrope",
      factor: 1,
      attention_factor: 1,
      original_max_position_embeddings: m.count(".context_length"),
      short_factor: freqs,
      long_factor: freqs,
    };
  }
  if (long !== undefined || short !== undefined) {
    return {
      rope_type: "longrope",
      attention_factor: m.positive(".rope.scaling.attn_factor", 1),
      original_max_position_embeddings: m.count(".rope.scaling.original_context_length"),
      short_factor: short ?? [],
      long_factor: long ?? [],
    };
  }
  const type = scalingType(m);
  if (type === "none" || type === "longrope") return null;
  if (type === "linear") return { rope_type: "linear", factor: m.positive(".rope.scaling.factor") };
  if (type !== "yarn")
    throw m.unsupported(".rope.scaling.type", `it is ${JSON.stringify(type.slice(0, 40))}`);
  // Other values of these mean another yarn than transformers has.
  for (const key of [".rope.scaling.yarn_ext_factor", ".rope.scaling.yarn_attn_factor"]) m.demand(key, [1]);
  m.demand(".rope.scaling.attn_factor", [1]);
  m.demand(".rope.scaling.yarn_log_multiplier", [0]);
  const optional = (field: string, key: string) => (m.has(key) ? { [field]: m.positive(key) } : {});
  return {
    rope_type: "yarn",
    factor: m.positive(".rope.scaling.factor"),
    original_max_position_embeddings: m.count(".rope.scaling.original_context_length"),
    ...optional("beta_fast", ".rope.scaling.yarn_beta_fast"),
    ...optional("beta_slow", ".rope.scaling.yarn_beta_slow"),
  };
}

function scalingType(m: Metadata): string {
  if (m.has(".rope.scaling.type")) return m.text(".rope.scaling.type");
  // What files from before it have.
  m.demand(".rope.scale_linear", [1]);
  return "none";
}

async function factorsOf(m: Metadata, name: string): Promise<readonly number[] | undefined> {
  const { tree, tensors } = m.file;
  const tensor = tensors.get(name);
  if (tensor === undefined) return undefined;
  const { kind, path, offset, bytes } = tensor;
  if (!isRead(kind.name) || tensor.shape.length !== 1 || bytes > 1 << 16) {
    throw m.badTensor(tensor, "is not a short list of numbers");
  }
  return [...decodeBlocks(kind.name, await tree.read(path, offset, bytes))];
}
