/** Fields that many families read alike. */

import { ACTIVATIONS, type Activation } from "../graph/blocks/activation.ts";
import type { Attention } from "../graph/modules/attention.ts";
import { type NormKind, normOf } from "./build-decoder.ts";
import { choice, demand, flag, positive, type RawConfig } from "./config-fields.ts";
import type { Sizes } from "./sizes.ts";

export function readActivation(raw: RawConfig, fallback: Activation, field = "hidden_act"): Activation {
  return choice(raw, field, ACTIVATIONS, fallback);
}

/** A root mean square norm with `rms_norm_eps`. */
export function readRms(raw: RawConfig, epsilon = 1e-6): NormKind {
  return { kind: "rms", epsilon: positive(raw, "rms_norm_eps", epsilon) };
}

/** `attention_bias` is about q, k, v and the output, `mlp_bias` about the MLP; null: the family has none. */
export function readBiases(
  raw: RawConfig,
  { attention = null, mlp = null }: { attention?: boolean | null; mlp?: boolean | null } = {},
): { qkv: boolean; attentionOut: boolean; mlp: boolean } {
  // A fixed bias cannot be switched by the file: transformers would not look.
  if (attention === null) demand(raw, "attention_bias", [false]);
  if (mlp === null) demand(raw, "mlp_bias", [false]);
  const attends = attention !== null && flag(raw, "attention_bias", attention);
  return { qkv: attends, attentionOut: attends, mlp: mlp !== null && flag(raw, "mlp_bias", mlp) };
}

/** Norms of every head of q and of k. */
export function normedHeads(
  layerName: string,
  { headDim }: Pick<Sizes, "headDim">,
  kind: NormKind,
  {
    q = "self_attn.q_norm",
    k = "self_attn.k_norm",
    when = "before",
  }: { q?: string; k?: string; when?: "before" | "behind" } = {},
): Pick<Attention, "normed"> {
  const of = (name: string) => normOf(`${layerName}.${name}`, headDim, kind);
  return { normed: { q: of(q), k: of(k), over: "head", when } };
}

/** One norm of all heads of q, one of all of k. */
export function normedQueriesAndKeys(
  layerName: string,
  { heads, kvHeads, headDim }: Pick<Sizes, "heads" | "kvHeads" | "headDim">,
  kind: NormKind,
): Pick<Attention, "normed"> {
  const of = (name: string, width: number) => normOf(`${layerName}.self_attn.${name}`, width, kind);
  const [q, k] = [of("q_norm", heads * headDim), of("k_norm", kvHeads * headDim)];
  return { normed: { q, k, over: "all", when: "before" } };
}
