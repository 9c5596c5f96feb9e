/** GLM-4, and ChatGLM2 and 3. */
import { attentionBias, hasBias, hasTensor, headSize, keyValueHeads } from "../family-fields.ts";
import { llamaNames } from "../tensor-names.ts";
import type { Family } from "./family.ts";

const glm: Family = {
  named: ["chatglm"],
  architecture: "GlmForCausalLM",
  modelType: "glm",
  names: llamaNames({ ffn_up: "mlp.gate_up_proj" }),
  partialRotary: true,
  config: attentionBias,
};

const glm4: Family = {
  ...glm,
  named: ["glm4"],
  architecture: "Glm4ForCausalLM",
  modelType: "glm4",
  names: llamaNames({
    ffn_up: "mlp.gate_up_proj",
    post_attention_norm: "post_self_attn_layernorm",
    post_ffw_norm: "post_mlp_layernorm",
  }),
};

const chatGlm: Family = {
  named: ["chatglm"],
  isIt: (m) => hasTensor(m, "blk.0.attn_qkv.weight"),
  architecture: "ChatGLMModel",
  modelType: "chatglm",
  names: {
    global: {
      token_embd: "transformer.embedding.word_embeddings",
      output_norm: "transformer.encoder.final_layernorm",
      output: "transformer.output_layer",
    },
    layers: "transformer.encoder.layers",
    layer: {
      attn_norm: "input_layernorm",
      attn_qkv: "self_attention.query_key_value",
      attn_output: "self_attention.dense",
      ffn_norm: "post_attention_layernorm",
      ffn_up: "mlp.dense_h_to_4h",
      ffn_down: "mlp.dense_4h_to_h",
    },
  },
  epsilon: "layernorm_epsilon",
  config(m) {
    m.demand(".rope.dimension_count", [headSize(m) / 2]);
    return {
      num_layers: m.count(".block_count"),
      ffn_hidden_size: m.count(".feed_forward_length"),
      seq_length: m.count(".context_length"),
      kv_channels: headSize(m),
      // llama.cpp takes the columns in this order, whatever their number.
      multi_query_attention: true,
      multi_query_group_num: keyValueHeads(m),
      rope_ratio: m.positive(".rope.freq_base", 10000) / 10000,
      add_qkv_bias: hasBias(m, "attn_qkv"),
      tie_word_embeddings: false,
    };
  },
};

export const GLM_FAMILIES: readonly Family[] = [chatGlm, glm, glm4];
