/** config.json of ChatGLM2 and ChatGLM3, which GLM-4 shares. */

import type { DecoderConfig } from "../graph/decoder.ts";
import type { Rope } from "../graph/rope.ts";
import { bad, count, demand, flag, MAX_LAYERS, positive, type RawConfig } from "./config-fields.ts";

export interface ChatGlmConfig extends DecoderConfig {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Width of the MLP, of gate and up each. */
  readonly mlpSize: number;
  readonly normEpsilon: number;
  readonly rope: Rope;
  readonly bias: { readonly qkv: boolean; readonly others: boolean };
  /** Columns of query_key_value: all of q, k, v in turn; or head by head, the three of each. */
  readonly qkvOrder: "parts" | "heads";
  /** Each block adds to the norm of its input instead of the input. */
  readonly residualAfterNorm: boolean;
  readonly finalNorm: boolean;
}

/**
 * ChatGLMModel and ChatGLMForConditionalGeneration, with the defaults of the models' own ChatGLMConfig for fields
 * that are left out. Fields about 16-bit arithmetic (fp32_residual_connection, attention_softmax_in_fp32) say
 * nothing here; apply_query_key_layer_scaling divides scores and multiplies them again.
 *
 * @throws TacetError bad_checkpoint for a field of the wrong kind, unsupported_model for an option that would
 *   change the result and is not implemented
 */
export function parseChatGlmConfig(raw: RawConfig): ChatGlmConfig {
  // The first ChatGLM-6B and GLM-4V share the names; these fields are their own.
  for (const field of ["inner_hidden_size", "position_encoding_2d", "vision_config"]) demand(raw, field, []);
  demand(raw, "rmsnorm", [true]);
  demand(raw, "original_rope", [true]);
  demand(raw, "interleaved_qkv", [false]);
  demand(raw, "quantization_bit", [0]);
  demand(raw, "quantization_config", []);
  demand(raw, "pre_seq_len", [0]);
  demand(raw, "tie_word_embeddings", [false]);
  const heads = count(raw, "num_attention_heads", 32);
  const multiQuery = flag(raw, "multi_query_attention", false);
  const kvHeads = multiQuery ? count(raw, "multi_query_group_num", 1) : heads;
  if (heads % kvHeads !== 0) {
    throw bad("num_attention_heads", `${heads} is not a multiple of multi_query_group_num, ${kvHeads}`);
  }
  const headDim = count(raw, "kv_channels", 128);
  if (headDim % 4 !== 0)
    throw bad("kv_channels", `${headDim} is not a multiple of 4: half of it is turned in pairs`);
  const allBiased = flag(raw, "add_bias_linear", false);
  return {
    layers: count(raw, "num_layers", 28, MAX_LAYERS),
    hiddenSize: count(raw, "hidden_size", 4096),
    vocabSize: count(raw, "padded_vocab_size", 65024),
    trainedContext: count(raw, "seq_length", 2048),
    heads,
    kvHeads,
    headDim,
    mlpSize: count(raw, "ffn_hidden_size", 13696),
    normEpsilon: positive(raw, "layernorm_epsilon", 1e-5),
    rope: parseRope(raw),
    bias: { qkv: allBiased || flag(raw, "add_qkv_bias", false), others: allBiased },
    qkvOrder: multiQuery ? "parts" : "heads",
    residualAfterNorm: flag(raw, "apply_residual_connection_post_layernorm", false),
    finalNorm: flag(raw, "post_layer_norm", true),
  };
}

/**
 * `rope_ratio` stretches theta, but in ChatGLM2-6B-32K it divides positions: the code that its checkpoint carries
 * differs from ChatGLM3's. Nothing but its name tells.
 */
function parseRope(raw: RawConfig): Rope {
  const ratio = positive(raw, "rope_ratio", 1);
  if (ratio !== 1 && /chatglm2/i.test(String(raw._name_or_path ?? ""))) {
    return { theta: 10000, scaling: { kind: "linear", factor: ratio } };
  }
  return { theta: 10000 * ratio, scaling: { kind: "none" } };
}
