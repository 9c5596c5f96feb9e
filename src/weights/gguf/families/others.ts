/** Makers with one family each. */
import { attentionBias, hasBias, hasTensor, normsLessOne, window } from "../family-fields.ts";
import { LLAMA_NAMES, llamaNames, NORM_BEHIND_TENSORS } from "../tensor-names.ts";
import { pairsBesideEachOther } from "../row-orders.ts";
import type { Family } from "./family.ts";

const exaone4: Family = {
  named: ["exaone4"],
  architecture: "Exaone4ForCausalLM",
  modelType: "exaone4",
  names: llamaNames(NORM_BEHIND_TENSORS),
  config: (m) => window(m, 4),
};

const smollm3: Family = {
  named: ["smollm3"],
  architecture: "SmolLM3ForCausalLM",
  modelType: "smollm3",
  names: LLAMA_NAMES,
  rowOrder: pairsBesideEachOther,
  // llama.cpp leaves out every fourth layer's rotation, whatever the original says.
  config: (m) => ({ ...attentionBias(m), mlp_bias: hasBias(m, "ffn_gate"), no_rope_layer_interval: 4 }),
};

const stableLm: Family = {
  named: ["stablelm"],
  architecture: "StableLmForCausalLM",
  modelType: "stablelm",
  names: LLAMA_NAMES,
  epsilon: "layer_norm_eps",
  partialRotary: true,
  config: (m) => ({
    use_qkv_bias: hasBias(m, "attn_q"),
    use_parallel_residual: m.flag(".use_parallel_residual", !hasTensor(m, "blk.0.ffn_norm.weight")),
  }),
};

const starcoder2: Family = {
  named: ["starcoder2"],
  architecture: "Starcoder2ForCausalLM",
  modelType: "starcoder2",
  names: llamaNames({ ffn_up: "mlp.c_fc", ffn_down: "mlp.c_proj" }),
  epsilon: "norm_epsilon",
  config: (m) => ({ use_bias: hasBias(m, "attn_q") }),
};

const nemotron: Family = {
  named: ["nemotron"],
  architecture: "NemotronForCausalLM",
  modelType: "nemotron",
  names: LLAMA_NAMES,
  undo: normsLessOne,
  epsilon: "norm_eps",
  partialRotary: true,
  config: (m) => ({ ...attentionBias(m), mlp_bias: hasBias(m, "ffn_up") }),
};

const cohere2: Family = {
  named: ["cohere2"],
  architecture: "Cohere2ForCausalLM",
  modelType: "cohere2",
  names: LLAMA_NAMES,
  epsilon: "layer_norm_eps",
  config: (m) => ({ ...attentionBias(m), ...window(m, 4), logit_scale: m.positive(".logit_scale") }),
};

const ernie45: Family = {
  named: ["ernie4_5"],
  architecture: "Ernie4_5ForCausalLM",
  modelType: "ernie4_5",
  names: LLAMA_NAMES,
  config: (m) => ({ use_bias: hasBias(m, "attn_q") }),
};

const hunyuanDense: Family = {
  named: ["hunyuan-dense"],
  architecture: "HunYuanDenseV1ForCausalLM",
  modelType: "hunyuan_v1_dense",
  names: llamaNames({ attn_q_norm: "self_attn.query_layernorm", attn_k_norm: "self_attn.key_layernorm" }),
  config: attentionBias,
};

const seedOss: Family = {
  named: ["seed_oss"],
  architecture: "SeedOssForCausalLM",
  modelType: "seed_oss",
  names: llamaNames({ ffn_norm: undefined, post_attention_norm: "post_attention_layernorm" }),
  config: (m) => ({ ...attentionBias(m), attention_out_bias: hasBias(m, "attn_output") }),
};

export const OTHER_FAMILIES: readonly Family[] = [
  exaone4,
  smollm3,
  stableLm,
  starcoder2,
  nemotron,
  cohere2,
  ernie45,
  hunyuanDense,
  seedOss,
];
