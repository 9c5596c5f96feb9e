/**
 * The families that llama.cpp has under `general.architecture` and that run here: what their tensors are called, and
 * which fields of config.json their metadata becomes. Sources: the converter of llama.cpp, and the classes of transformers.
 */

import type { JsonRecord } from "../json-file.ts";
import {
  attentionBias,
  expertCounts,
  hasBias,
  hasTensor,
  headSize,
  keyValueHeads,
  multipliers,
  window,
} from "./family-fields.ts";
import type { Metadata } from "./metadata.ts";
import {
  FOUR_NORM_TENSORS,
  HEAD_NORM_TENSORS,
  LLAMA_NAMES,
  llamaNames,
  type TensorNames,
} from "./tensor-names.ts";

export interface Family {
  /** `general.architecture`. */
  readonly named: readonly string[];
  /** What tells it from others of the same name. */
  readonly isIt?: (m: Metadata) => boolean;
  /** `architectures` and `model_type` of config.json. */
  readonly architecture: string;
  readonly modelType: string;
  readonly names: TensorNames;
  /**
   * Rows of q and k: llama.cpp turns neighbouring entries where transformers turns entry i and i + d/2, and has put their
   * rows beside each other for that. Default: as in transformers.
   */
  readonly headRows?: "neighbours";
  /** llama.cpp has added 1 to the weights of norms. */
  readonly normsPlusOne?: true;
  /** Field of config.json for a norm's epsilon. Default: "rms_norm_eps". */
  readonly epsilon?: string;
  /** Only a part of each head may be turned. */
  readonly partialRotary?: true;
  /** What else is in config.json, or is there otherwise. */
  readonly config?: (m: Metadata) => JsonRecord;
  /** `rope_scaling` and what belongs to it, where that is made otherwise. @param freqs of the tensor "rope_freqs" */
  readonly rope?: (m: Metadata, freqs: readonly number[]) => JsonRecord;
  /** Lists of sizes may differ from layer to layer: `config` says how. */
  readonly variesByLayer?: true;
}

const llama: Family = {
  named: ["llama"],
  architecture: "LlamaForCausalLM",
  modelType: "llama",
  names: LLAMA_NAMES,
  headRows: "neighbours",
  config: (m) => ({ attention_bias: hasBias(m, "attn_q"), mlp_bias: hasBias(m, "ffn_gate") }),
};

const mixtral: Family = {
  named: ["llama"],
  isIt: (m) => Boolean(m.value(".expert_count")),
  architecture: "MixtralForCausalLM",
  modelType: "mixtral",
  names: llamaNames(
    { ffn_gate_inp: "block_sparse_moe.gate" },
    { experts: { list: "block_sparse_moe.experts", gate: "w1", up: "w3", down: "w2" } },
  ),
  headRows: "neighbours",
  config: (m) => ({ ...expertCounts(m), sliding_window: null }),
};

const QWEN_EXPERTS: Partial<TensorNames> = {
  experts: { list: "mlp.experts", gate: "gate_proj", up: "up_proj", down: "down_proj" },
};

/** Of a model that also sees, the file has the language model; the rest is in a separate one. */
const qwen2: Family = {
  named: ["qwen2", "qwen2vl"],
  architecture: "Qwen2ForCausalLM",
  modelType: "qwen2",
  names: LLAMA_NAMES,
};

const qwen3: Family = {
  named: ["qwen3", "qwen3vl"],
  architecture: "Qwen3ForCausalLM",
  modelType: "qwen3",
  names: llamaNames(HEAD_NORM_TENSORS),
  config: attentionBias,
};

const qwen2Moe: Family = {
  named: ["qwen2moe"],
  architecture: "Qwen2MoeForCausalLM",
  modelType: "qwen2_moe",
  names: llamaNames(
    {
      ffn_gate_inp: "mlp.gate",
      ffn_gate_inp_shexp: "mlp.shared_expert_gate",
      ffn_gate_shexp: "mlp.shared_expert.gate_proj",
      ffn_up_shexp: "mlp.shared_expert.up_proj",
      ffn_down_shexp: "mlp.shared_expert.down_proj",
    },
    QWEN_EXPERTS,
  ),
  config: (m) => ({
    ...expertCounts(m),
    qkv_bias: hasBias(m, "attn_q"),
    moe_intermediate_size: m.count(".expert_feed_forward_length"),
    shared_expert_intermediate_size: m.count(".expert_shared_feed_forward_length"),
    norm_topk_prob: m.flag(".expert_weights_norm", false),
  }),
};

const qwen3Moe: Family = {
  named: ["qwen3moe"],
  architecture: "Qwen3MoeForCausalLM",
  modelType: "qwen3_moe",
  names: llamaNames({ ...HEAD_NORM_TENSORS, ffn_gate_inp: "mlp.gate" }, QWEN_EXPERTS),
  config: (m) => ({
    ...attentionBias(m),
    ...expertCounts(m),
    moe_intermediate_size: m.count(".expert_feed_forward_length"),
    norm_topk_prob: m.flag(".expert_weights_norm", true),
  }),
};

const gemma: Family = {
  named: ["gemma"],
  architecture: "GemmaForCausalLM",
  modelType: "gemma",
  names: LLAMA_NAMES,
  normsPlusOne: true,
};

/** llama.cpp knows the 27B models by their number of layers: their scores are divided by the root of another number. */
function gemmaScale(m: Metadata, layersOfLargest: number): number {
  if (m.count(".block_count") !== layersOfLargest) return headSize(m);
  return m.count(".embedding_length") / m.count(".attention.head_count");
}

const gemma2: Family = {
  named: ["gemma2"],
  architecture: "Gemma2ForCausalLM",
  modelType: "gemma2",
  names: llamaNames(FOUR_NORM_TENSORS),
  normsPlusOne: true,
  config: (m) => ({
    ...window(m, 2),
    query_pre_attn_scalar: gemmaScale(m, 46),
    attn_logit_softcapping: m.positive(".attn_logit_softcapping", 50),
    final_logit_softcapping: m.positive(".final_logit_softcapping", 30),
  }),
};

const gemma3: Family = {
  named: ["gemma3"],
  architecture: "Gemma3ForCausalLM",
  modelType: "gemma3_text",
  names: llamaNames({ ...FOUR_NORM_TENSORS, ...HEAD_NORM_TENSORS }),
  normsPlusOne: true,
  config: (m) => ({
    ...window(m, 6),
    query_pre_attn_scalar: gemmaScale(m, 62),
    rope_local_base_freq: m.positive(".rope.freq_base_swa", 10000),
    ...(m.has(".final_logit_softcapping")
      ? { final_logit_softcapping: m.positive(".final_logit_softcapping") }
      : {}),
  }),
};

const gemma4: Family = {
  named: ["gemma4"],
  architecture: "Gemma4ForCausalLM",
  modelType: "gemma4_text",
  names: llamaNames(
    {
      ...FOUR_NORM_TENSORS,
      ...HEAD_NORM_TENSORS,
      inp_gate: "per_layer_input_gate",
      proj: "per_layer_projection",
      post_norm: "post_per_layer_input_norm",
      layer_output_scale: "layer_scalar",
    },
    {
      global: {
        ...LLAMA_NAMES.global,
        per_layer_token_embd: "model.embed_tokens_per_layer",
        per_layer_model_proj: "model.per_layer_model_projection",
        per_layer_proj_norm: "model.per_layer_projection_norm",
      },
    },
  ),
  variesByLayer: true,
  config(m) {
    const slides = m.booleans(".attention.sliding_window_pattern", m.count(".block_count"));
    const full = slides.lastIndexOf(false);
    const ofKind = (key: string, layer: number) => m.countIn(key, Math.max(0, layer));
    const shared = m.value(".attention.shared_kv_layers");
    const inner = m.value(".embedding_length_per_layer_input");
    const last = m.count(".block_count") - 1;
    return {
      head_dim: m.count(".attention.key_length_swa"),
      global_head_dim: m.count(".attention.key_length"),
      num_key_value_heads: ofKind(".attention.head_count_kv", slides.indexOf(true)),
      num_global_key_value_heads: ofKind(".attention.head_count_kv", full),
      attention_k_eq_v:
        hasTensor(m, `blk.${full}.attn_k.weight`) && !hasTensor(m, `blk.${full}.attn_v.weight`),
      num_kv_shared_layers: shared ? m.count(".attention.shared_kv_layers") : 0,
      intermediate_size: ofKind(".feed_forward_length", 0),
      use_double_wide_mlp: ofKind(".feed_forward_length", last) !== ofKind(".feed_forward_length", 0),
      hidden_size_per_layer_input: inner ? m.count(".embedding_length_per_layer_input") : 0,
      vocab_size_per_layer_input: m.file.tensors.get("per_layer_token_embd.weight")?.shape[0] ?? null,
      ...window(m, 6),
      ...(m.has(".final_logit_softcapping")
        ? { final_logit_softcapping: m.positive(".final_logit_softcapping") }
        : {}),
    };
  },
  // Of a head in the layers that see all, a first part is turned: the rest has factors that leave no angle.
  rope: (m, freqs) => ({
    rope_theta: null,
    rope_parameters: {
      full_attention: {
        rope_type: "proportional",
        rope_theta: m.positive(".rope.freq_base", 1e6),
        partial_rotary_factor: freqs.filter((factor) => factor === 1).length / (freqs.length || 1),
      },
      sliding_attention: { rope_type: "default", rope_theta: m.positive(".rope.freq_base_swa", 10000) },
    },
  }),
};

const ministral3: Family = {
  ...llama,
  named: ["mistral3"],
  isIt: (m) => m.has(".attention.temperature_scale"),
  architecture: "Ministral3ForCausalLM",
  modelType: "ministral3",
  config: () => ({ sliding_window: null }),
  rope(m) {
    const key = ".rope.scaling.yarn_log_multiplier";
    const multiplier = m.has(key) ? m.positive(key) : null;
    return {
      rope_theta: null,
      rope_parameters: {
        rope_type: "yarn",
        rope_theta: m.positive(".rope.freq_base"),
        factor: m.positive(".rope.scaling.factor"),
        original_max_position_embeddings: m.count(".rope.scaling.original_context_length"),
        beta_fast: m.positive(".rope.scaling.yarn_beta_fast", 32),
        beta_slow: m.positive(".rope.scaling.yarn_beta_slow", 1),
        mscale: multiplier,
        mscale_all_dim: multiplier,
        llama_4_scaling_beta: m.positive(".attention.temperature_scale"),
      },
    };
  },
};

const phi2: Family = {
  named: ["phi2"],
  architecture: "PhiForCausalLM",
  modelType: "phi",
  names: llamaNames(
    { attn_output: "self_attn.dense", ffn_up: "mlp.fc1", ffn_down: "mlp.fc2" },
    { global: { ...LLAMA_NAMES.global, output_norm: "model.final_layernorm" } },
  ),
  epsilon: "layer_norm_eps",
  partialRotary: true,
};

const phi3: Family = {
  named: ["phi3"],
  architecture: "Phi3ForCausalLM",
  modelType: "phi3",
  names: llamaNames({ attn_qkv: "self_attn.qkv_proj", ffn_up: "mlp.gate_up_proj" }),
  partialRotary: true,
  config: (m) => ({
    sliding_window: m.value(".attention.sliding_window") ? m.count(".attention.sliding_window") : null,
    original_max_position_embeddings: m.count(
      ".rope.scaling.original_context_length",
      m.count(".context_length"),
    ),
  }),
};

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

const granite: Family = {
  named: ["granite"],
  architecture: "GraniteForCausalLM",
  modelType: "granite",
  names: LLAMA_NAMES,
  headRows: "neighbours",
  config: (m) => ({ ...attentionBias(m), mlp_bias: hasBias(m, "ffn_gate"), ...multipliers(m) }),
};

const graniteMoe: Family = {
  named: ["granitemoe"],
  architecture: "GraniteMoeForCausalLM",
  modelType: "granitemoe",
  names: llamaNames(
    { ffn_gate_inp: "block_sparse_moe.router.layer" },
    { experts: { gateUp: "block_sparse_moe.input_linear", down: "block_sparse_moe.output_linear" } },
  ),
  headRows: "neighbours",
  config: (m) => ({ ...attentionBias(m), ...expertCounts(m), ...multipliers(m) }),
};

const NORMS_BEHIND = {
  ...HEAD_NORM_TENSORS,
  attn_norm: undefined,
  ffn_norm: undefined,
  post_attention_norm: "post_attention_layernorm",
  post_ffw_norm: "post_feedforward_layernorm",
} as const;

const olmo2: Family = {
  named: ["olmo2"],
  architecture: "Olmo2ForCausalLM",
  modelType: "olmo2",
  names: llamaNames(NORMS_BEHIND),
  config: attentionBias,
};

const olmo3: Family = {
  ...olmo2,
  named: ["olmo2"],
  isIt: (m) => Boolean(m.value(".attention.sliding_window")),
  architecture: "Olmo3ForCausalLM",
  modelType: "olmo3",
  config: (m) => ({ ...attentionBias(m), ...window(m, 4) }),
};

const olmoe: Family = {
  named: ["olmoe"],
  architecture: "OlmoeForCausalLM",
  modelType: "olmoe",
  names: llamaNames({ ...HEAD_NORM_TENSORS, ffn_gate_inp: "mlp.gate" }, QWEN_EXPERTS),
  config: (m) => ({
    ...attentionBias(m),
    ...expertCounts(m),
    norm_topk_prob: m.flag(".expert_weights_norm", false),
  }),
};

const exaone4: Family = {
  named: ["exaone4"],
  architecture: "Exaone4ForCausalLM",
  modelType: "exaone4",
  names: llamaNames(NORMS_BEHIND),
  config: (m) => window(m, 4),
};

const smollm3: Family = {
  named: ["smollm3"],
  architecture: "SmolLM3ForCausalLM",
  modelType: "smollm3",
  names: LLAMA_NAMES,
  headRows: "neighbours",
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
  normsPlusOne: true,
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

/** Of several with one name in llama.cpp, those that are told by something come first. */
export const FAMILIES: readonly Family[] = [
  ...[
    mixtral,
    llama,
    qwen2,
    qwen2Moe,
    qwen3,
    qwen3Moe,
    gemma,
    gemma2,
    gemma3,
    gemma4,
    ministral3,
    phi2,
    phi3,
    chatGlm,
    glm,
    glm4,
  ],
  ...[granite, graniteMoe, olmo3, olmo2, olmoe, exaone4, smollm3, stableLm, starcoder2, nemotron, cohere2],
  ...[ernie45, hunyuanDense, seedOss],
];

/** Names that `general.architecture` may have. */
export const GGUF_ARCHITECTURES: readonly string[] = [...new Set(FAMILIES.flatMap(({ named }) => named))];

/** undefined: it does not run here. */
export function familyOf(m: Metadata): Family | undefined {
  return FAMILIES.find(({ named, isIt }) => named.includes(m.architecture) && (isIt?.(m) ?? true));
}
