/** config.json of the Llama family. The families in it differ in what they leave out and in a few fixed choices. */

import type { DecoderConfig } from "../config.ts";
import {
  bad,
  count,
  demand,
  flag,
  positive,
  present,
  type RawConfig,
  unsupported,
} from "../config-fields.ts";
import type { Rope } from "../rope.ts";
import { parseRope } from "../rope-config.ts";

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
  /** By layer: how many keys a token sees, itself the last; null: all. */
  readonly windows: readonly (number | null)[];
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
  windows(raw: RawConfig, layers: number): readonly (number | null)[];
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
};

/**
 * @throws TacetError bad_checkpoint for a field of the wrong kind, unsupported_model for an option that would
 *   change the result and is not implemented
 */
export function parseLlamaConfig(raw: RawConfig, family: LlamaFamily): LlamaConfig {
  const { defaults } = family;
  for (const [field, wanted] of Object.entries(PLAIN)) demand(raw, field, wanted);
  const layers = count(raw, "num_hidden_layers", 32);
  const heads = count(raw, "num_attention_heads", 32);
  const kvHeads = count(raw, "num_key_value_heads", heads);
  if (heads % kvHeads !== 0) {
    throw bad("num_attention_heads", `${heads} is not a multiple of num_key_value_heads, ${kvHeads}`);
  }
  const hiddenSize = count(raw, "hidden_size", defaults.hiddenSize);
  const headDim = count(raw, "head_dim", defaults.headDim ?? hiddenSize / heads);
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
    rope: parseRope(raw),
    tiedHead: flag(raw, "tie_word_embeddings", false),
    bias: parseBias(raw, family),
    normedHeads: family.normedHeads,
    windows: family.windows(raw, layers),
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

/** Llama: no window. A file that names one was made for something else. */
export function noWindow(raw: RawConfig, layers: number): readonly null[] {
  if (raw.use_sliding_window !== false) {
    demand(raw, "use_sliding_window", []);
    demand(raw, "sliding_window", []);
  }
  const windows = Array.from({ length: layers }, () => null);
  checkLayerTypes(raw, windows);
  return windows;
}

/** Mistral: one window for all layers, 4096 if the file does not say, none if it says null. */
export function oneWindow(raw: RawConfig, layers: number): readonly (number | null)[] {
  demand(raw, "use_sliding_window", [true]);
  demand(raw, "max_window_layers", [0]);
  const size = raw.sliding_window === null ? null : count(raw, "sliding_window", 4096);
  const windows = Array.from({ length: layers }, () => size);
  checkLayerTypes(raw, windows);
  return windows;
}

/**
 * Qwen: with `use_sliding_window`, the layers that `layer_types` names; in files from before it, those from
 * `max_window_layers` on.
 */
export function laterWindows(raw: RawConfig, layers: number): readonly (number | null)[] {
  const used = flag(raw, "use_sliding_window", false) && raw.sliding_window !== null;
  const size = used ? count(raw, "sliding_window", 4096) : null;
  const types = layerTypes(raw, layers);
  if (types) {
    if (!used && types.includes(SLIDING)) {
      throw bad("layer_types", `has ${SLIDING} layers, but use_sliding_window or sliding_window is off`);
    }
    return types.map((type) => (type === SLIDING ? size : null));
  }
  const first = raw.max_window_layers === 0 ? 0 : count(raw, "max_window_layers", 28);
  return Array.from({ length: layers }, (_, layer) => (layer < first ? null : size));
}

const SLIDING = "sliding_attention";
const FULL = "full_attention";

function layerTypes(raw: RawConfig, layers: number): readonly string[] | undefined {
  const types = raw.layer_types;
  if (!present(types)) return undefined;
  if (!Array.isArray(types) || types.length !== layers) {
    throw bad("layer_types", `must have one entry for each of ${layers} layers`);
  }
  const odd = types.findIndex((type) => type !== SLIDING && type !== FULL);
  if (odd >= 0) throw unsupported(`layer_types[${odd}]`, types[odd]);
  return types as string[];
}

/** Where the family decides alone, the file may only repeat it. */
function checkLayerTypes(raw: RawConfig, windows: readonly (number | null)[]): void {
  const types = layerTypes(raw, windows.length) ?? [];
  const odd = types.findIndex((type, layer) => type !== (windows[layer] === null ? FULL : SLIDING));
  if (odd >= 0) throw unsupported(`layer_types[${odd}]`, types[odd]);
}
