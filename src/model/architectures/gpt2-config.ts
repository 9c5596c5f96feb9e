/** config.json of GPT-2. */

import { ACTIVATIONS, type Activation } from "../graph/blocks/activation.ts";
import type { DecoderConfig } from "../graph/decoder.ts";
import { bad, choice, count, demand, flag, MAX_LAYERS, positive, type RawConfig } from "./config-fields.ts";

export interface Gpt2Config extends DecoderConfig {
  readonly heads: number;
  readonly headDim: number;
  /** Width of the MLP. */
  readonly mlpSize: number;
  readonly normEpsilon: number;
  readonly activation: Activation;
  /** The logits use the embedding; there is no lm_head.weight. */
  readonly tiedHead: boolean;
  /** Scores are divided by the square root of headDim. */
  readonly scaleByWidth: boolean;
  /** Scores are divided by the layer's number, from 1 on. */
  readonly scaleByLayer: boolean;
}

/**
 * GPT2LMHeadModel, with the defaults of transformers' GPT2Config for fields that are left out.
 *
 * `reorder_and_upcast_attn` is about 16-bit arithmetic, of which there is none here; dropouts are for training.
 *
 * @throws TacetError bad_checkpoint for a field of the wrong kind, unsupported_model for an option that would
 *   change the result and is not implemented
 */
export function parseGpt2Config(raw: RawConfig): Gpt2Config {
  const hiddenSize = count(raw, "n_embd", 768);
  const heads = count(raw, "n_head", 12);
  if (hiddenSize % heads !== 0) throw bad("n_embd", `${hiddenSize} is not a multiple of n_head, ${heads}`);
  demand(raw, "add_cross_attention", [false]);
  demand(raw, "quantization_config", []);
  if (Object.keys(raw.pruned_heads ?? {}).length > 0) demand(raw, "pruned_heads", []);
  const positions = count(raw, "n_positions", 1024);
  return {
    layers: count(raw, "n_layer", 12, MAX_LAYERS),
    hiddenSize,
    vocabSize: count(raw, "vocab_size", 50257),
    trainedContext: positions,
    contextLimit: { tokens: positions, reason: "the model's positions are learned one by one" },
    heads,
    headDim: hiddenSize / heads,
    mlpSize: count(raw, "n_inner", 4 * hiddenSize),
    normEpsilon: positive(raw, "layer_norm_epsilon", 1e-5),
    activation: choice(raw, "activation_function", ACTIVATIONS, "gelu_new"),
    tiedHead: flag(raw, "tie_word_embeddings", true),
    scaleByWidth: flag(raw, "scale_attn_weights", true),
    scaleByLayer: flag(raw, "scale_attn_by_inverse_layer_idx", false),
  };
}
