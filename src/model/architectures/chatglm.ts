/**
 * ChatGLM2 and ChatGLM3: one product for q, k and v, one for gate and up, neighbouring entries of each head's first
 * half turned.
 *
 * The buffer `transformer.rotary_pos_emb.inv_freq` of released files is not read: it holds nothing that the
 * configuration does not give, and is rounded in 16-bit files.
 * Source: modeling_chatglm.py beside the released checkpoints.
 */

import type { Decoder } from "../graph/decoder.ts";
import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { parseChatGlmConfig } from "./chatglm-config.ts";
import type { RawConfig } from "./config-fields.ts";

/** Released files name their base class; a file saved from the language model names that. */
const NAMES = ["ChatGLMModel", "ChatGLMForConditionalGeneration"] as const;

export const chatGlm = NAMES.map(
  (name): Architecture => ({
    name,
    modelType: "chatglm",
    released: "ChatGLM2, ChatGLM3, GLM-4 as first released",
    describe,
  }),
);

function describe(raw: RawConfig): Decoder {
  const config = parseChatGlmConfig(raw);
  const { headDim, rope, bias, residualAfterNorm, finalNorm, qkvOrder } = config;
  return buildDecoder(
    { ...config, tiedHead: false },
    {
      names: {
        embedding: "transformer.embedding.word_embeddings.weight",
        layers: "transformer.encoder.layers",
        qkv: ["self_attention.query_key_value"],
        attentionOut: "self_attention.dense",
        mlpIn: ["mlp.dense_h_to_4h"],
        mlpOut: "mlp.dense_4h_to_h",
        finalNorm: finalNorm ? "transformer.encoder.final_layernorm" : null,
        head: "transformer.output_layer.weight",
      },
      norm: { kind: "rms", epsilon: config.normEpsilon },
      bias: { qkv: bias.qkv, attentionOut: bias.others, mlp: bias.others },
      activation: "silu",
      rotary: { rope, dims: headDim / 2, pairs: "neighbours" },
      residual: residualAfterNorm ? "normed" : "input",
      attention: () => ({ columns: qkvOrder === "heads" ? "groups" : "parts" }),
    },
  );
}
