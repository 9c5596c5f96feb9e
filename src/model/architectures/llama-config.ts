/** config.json of the Llama family. The families in it differ in what they leave out and in a few fixed choices. */

import type { DecoderConfig } from "./decoder-config.ts";
import { bad, count, demand, flag, MAX_LAYERS, positive, type RawConfig } from "./config-fields.ts";
import { type Rope, ropeLimit } from "../graph/rope.ts";
import { parseRope } from "./rope-config.ts";
import type { ReadWindow, SlidingWindow } from "./sliding-window.ts";

export interface LlamaConfig extends DecoderConfig {
  /** Width of the MLP. */
  readonly mlpSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly normEpsilon: number;
  readonly rope: Rope;
  /** The logits use the embedding; there is no lm_head.weight. */
  readonly tiedHead: boolean;
  readonly bias: { readonly qkv: boolean; readonly attentionOut: boolean; readonly mlp: boolean };
  /** Every head of q and of k is normed before it is turned. */
  readonly normedHeads: boolean;
  readonly window: SlidingWindow | null;
}

/** What a family's class in transformers fills in, and what it does without asking the file. */
export interface LlamaFamily {
  readonly defaults: {
    readonly hiddenSize: number;
    readonly mlpSize: number;
    readonly vocabSize: number;
    readonly trainedContext: number;
    /** Not given: hidden_size / num_attention_heads. */
    readonly headDim?: number;
  };
  /** Read from the file, or fixed. */
  readonly attentionBias: "config" | "none" | "qkv";
  readonly mlpBias: "config" | "none";
  readonly normedHeads: boolean;
  readonly window: ReadWindow;
}

/** Fields of relatives that change the result: the one value that means "without it". */
const PLAIN: Readonly<Record<string, readonly unknown[]>> = {
  hidden_act: ["silu", "swish"],
  quantization_config: [],
  attn_logit_softcapping: [],
  final_logit_softcapping: [],
  query_pre_attn_scalar: [],
  clip_qkv: [],
  embedding_multiplier: [1],
  residual_multiplier: [1],
  logits_scaling: [1],
  logit_scale: [1],
  attention_multiplier: [],
  rope_interleaved: [false],
  no_rope_layers: [],
  use_mrope: [false],
  num_experts: [],
  num_local_experts: [],
  add_cross_attention: [false],
  dual_chunk_attention_config: [],
};

/**
 * @throws TacetError bad_checkpoint for a field of the wrong kind, unsupported_model for an option that would
 *   change the result and is not implemented
 */
export function parseLlamaConfig(raw: RawConfig, family: LlamaFamily): LlamaConfig {
  const { defaults } = family;
  for (const [field, wanted] of Object.entries(PLAIN)) demand(raw, field, wanted);
  const layers = count(raw, "num_hidden_layers", 32, MAX_LAYERS);
  const heads = count(raw, "num_attention_heads", 32);
  const kvHeads = count(raw, "num_key_value_heads", heads);
  if (heads % kvHeads !== 0) {
    throw bad("num_attention_heads", `${heads} is not a multiple of num_key_value_heads, ${kvHeads}`);
  }
  const hiddenSize = count(raw, "hidden_size", defaults.hiddenSize);
  const headDim = count(raw, "head_dim", defaults.headDim ?? hiddenSize / heads);
  const rope = parseRope(raw, { trainedContext: defaults.trainedContext });
  const contextLimit = ropeLimit(rope);
  if (headDim % 2 !== 0) throw bad("head_dim", `${headDim} is odd`);
  return {
    layers,
    hiddenSize,
    mlpSize: count(raw, "intermediate_size", defaults.mlpSize),
    heads,
    kvHeads,
    headDim,
    vocabSize: count(raw, "vocab_size", defaults.vocabSize),
    trainedContext: count(raw, "max_position_embeddings", defaults.trainedContext),
    normEpsilon: positive(raw, "rms_norm_eps", 1e-6),
    rope,
    ...(contextLimit ? { contextLimit } : {}),
    tiedHead: flag(raw, "tie_word_embeddings", false),
    bias: parseBias(raw, family),
    normedHeads: family.normedHeads,
    window: family.window(raw, layers),
  };
}

function parseBias(raw: RawConfig, { attentionBias, mlpBias }: LlamaFamily): LlamaConfig["bias"] {
  // A fixed bias cannot be switched by the file: transformers would not look.
  if (attentionBias !== "config") demand(raw, "attention_bias", [attentionBias === "qkv"]);
  if (mlpBias === "none") demand(raw, "mlp_bias", [false]);
  const asked = attentionBias === "config" && flag(raw, "attention_bias", false);
  return {
    qkv: asked || attentionBias === "qkv",
    attentionOut: asked,
    mlp: mlpBias === "config" && flag(raw, "mlp_bias", false),
  };
}
