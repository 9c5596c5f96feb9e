/** A small ChatGLM: sizes that are no multiples of each other, where the family leaves it open. */
import type { Shapes } from "./small-models.ts";

export const CHATGLM = {
  architectures: ["ChatGLMForConditionalGeneration"],
  model_type: "chatglm",
  num_layers: 2,
  hidden_size: 40,
  num_attention_heads: 4,
  kv_channels: 12,
  ffn_hidden_size: 56,
  padded_vocab_size: 70,
  layernorm_epsilon: 1e-5,
  multi_query_attention: true,
  multi_query_group_num: 2,
  add_qkv_bias: true,
  add_bias_linear: false,
  apply_residual_connection_post_layernorm: false,
  post_layer_norm: true,
  seq_length: 128,
};
export function chatGlmShapes(config: typeof CHATGLM): Shapes {
  const { hidden_size: hidden, num_attention_heads: heads, kv_channels: d, ffn_hidden_size: ffn } = config;
  const vocab = config.padded_vocab_size;
  const kvHeads = config.multi_query_attention ? config.multi_query_group_num : heads;
  const qkv = (heads + 2 * kvHeads) * d;
  const shapes: Record<string, readonly number[]> = {
    "transformer.embedding.word_embeddings.weight": [vocab, hidden],
    "transformer.output_layer.weight": [vocab, hidden],
    "transformer.rotary_pos_emb.inv_freq": [d / 4],
  };
  if (config.post_layer_norm) shapes["transformer.encoder.final_layernorm.weight"] = [hidden];
  for (let n = 0; n < config.num_layers; n++) {
    const layer = `transformer.encoder.layers.${n}`;
    shapes[`${layer}.input_layernorm.weight`] = [hidden];
    shapes[`${layer}.post_attention_layernorm.weight`] = [hidden];
    const linear = (name: string, out: number, width: number, bias: boolean) => {
      shapes[`${layer}.${name}.weight`] = [out, width];
      if (bias) shapes[`${layer}.${name}.bias`] = [out];
    };
    linear("self_attention.query_key_value", qkv, hidden, config.add_qkv_bias || config.add_bias_linear);
    linear("self_attention.dense", hidden, heads * d, config.add_bias_linear);
    linear("mlp.dense_h_to_4h", 2 * ffn, hidden, config.add_bias_linear);
    linear("mlp.dense_4h_to_h", hidden, ffn, config.add_bias_linear);
  }
  return shapes;
}
