/**
 * GPT-2: learned positions, layer norms with biases, one product for q, k and v, an MLP without a gate.
 *
 * Linear modules are Conv1D: weights (in, out). The file may leave "transformer." out (weights/checkpoint.ts); its
 * buffers `attn.bias` and `attn.masked_bias` are the causal mask, and are not read.
 * Source: transformers, models/gpt2/modeling_gpt2.py.
 */

import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { parseGpt2Config } from "./gpt2-config.ts";

export const gpt2: Architecture = {
  name: "GPT2LMHeadModel",
  modelType: "gpt2",
  released: "GPT-2",
  describe(raw) {
    const config = parseGpt2Config(raw);
    const { heads, headDim, trainedContext, scaleByWidth, scaleByLayer } = config;
    return buildDecoder(
      { ...config, kvHeads: heads },
      {
        names: {
          embedding: "transformer.wte.weight",
          layers: "transformer.h",
          qkv: ["attn.c_attn"],
          attentionOut: "attn.c_proj",
          mlpIn: ["mlp.c_fc"],
          mlpOut: "mlp.c_proj",
          norms: { beforeAttention: "ln_1", behindAttention: null, beforeMlp: "ln_2", behindMlp: null },
          finalNorm: "transformer.ln_f",
        },
        norm: { kind: "layer", epsilon: config.normEpsilon },
        bias: { qkv: true, attentionOut: true, mlp: true },
        activation: config.activation,
        gated: false,
        storedInOut: true,
        embedding: { positions: { weight: "transformer.wpe.weight", rows: trainedContext, offset: 0 } },
        attention: (layer) => ({
          scale: (scaleByWidth ? 1 / Math.sqrt(headDim) : 1) / (scaleByLayer ? layer + 1 : 1),
        }),
      },
    );
  },
};
