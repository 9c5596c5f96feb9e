/** What several families read of a file's metadata, as sizes or as fields of config.json. */

import type { JsonRecord } from "../json-file.ts";
import type { Metadata } from "./metadata.ts";

/** Entries of a head of q and k. */
export function headSize(m: Metadata): number {
  const heads = m.count(".attention.head_count");
  const width = m.count(".embedding_length");
  if (m.has(".attention.key_length")) {
    const size = m.count(".attention.key_length");
    m.demand(".attention.value_length", [size]);
    return size;
  }
  if (width % heads !== 0) throw m.bad(".attention.head_count", `, ${heads}, does not divide ${width}`);
  return width / heads;
}

export function keyValueHeads(m: Metadata): number {
  return m.count(".attention.head_count_kv", m.count(".attention.head_count"));
}

export function hasTensor({ file }: Metadata, name: string): boolean {
  return file.tensors.has(name);
}

export function hasBias(m: Metadata, stem: string): boolean {
  return hasTensor(m, `blk.0.${stem}.bias`);
}

export function attentionBias(m: Metadata): JsonRecord {
  return { attention_bias: hasBias(m, "attn_q") };
}

export function expertCounts(m: Metadata): JsonRecord {
  return {
    num_local_experts: m.count(".expert_count"),
    num_experts_per_tok: m.count(".expert_used_count"),
  };
}

export function multipliers(m: Metadata): JsonRecord {
  return {
    attention_multiplier: m.positive(".attention.scale", headSize(m) ** -0.5),
    embedding_multiplier: m.positive(".embedding_scale", 1),
    residual_multiplier: m.positive(".residual_scale", 1),
    logits_scaling: m.positive(".logit_scale", 1),
  };
}

/** A window in all layers but each `every`-th, unless the file lists them or has another number. */
export function window(m: Metadata, every: number): JsonRecord {
  if (!m.value(".attention.sliding_window")) return { sliding_window: null };
  const tokens = m.count(".attention.sliding_window");
  const pattern = m.value(".attention.sliding_window_pattern");
  if (!Array.isArray(pattern)) {
    return {
      sliding_window: tokens,
      sliding_window_pattern: m.count(".attention.sliding_window_pattern", every),
    };
  }
  return {
    sliding_window: tokens,
    layer_types: pattern.map((slides) => (slides ? "sliding_attention" : "full_attention")),
  };
}

/** `rope_parameters` of yarn. */
export function yarn(m: Metadata): JsonRecord {
  return {
    rope_type: "yarn",
    rope_theta: m.positive(".rope.freq_base"),
    factor: m.positive(".rope.scaling.factor"),
    original_max_position_embeddings: m.count(".rope.scaling.original_context_length"),
    beta_fast: m.positive(".rope.scaling.yarn_beta_fast", 32),
    beta_slow: m.positive(".rope.scaling.yarn_beta_slow", 1),
  };
}

/** The converter has added 1 to weights of norms. */
export function normsLessOne(stem: string, last: string): ((entry: number) => number) | undefined {
  return stem.endsWith("norm") && last === "weight" ? (weight) => weight - 1 : undefined;
}
