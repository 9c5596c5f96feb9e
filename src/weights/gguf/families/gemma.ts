/** Gemma 1 to 4. */
import { hasTensor, headSize, normsLessOne, window } from "../family-fields.ts";
import type { Metadata } from "../metadata.ts";
import { FOUR_NORM_TENSORS, HEAD_NORM_TENSORS, LLAMA_NAMES, llamaNames } from "../tensor-names.ts";
import type { Family } from "./family.ts";

const gemma: Family = {
  named: ["gemma"],
  architecture: "GemmaForCausalLM",
  modelType: "gemma",
  names: LLAMA_NAMES,
  undo: normsLessOne,
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
  undo: normsLessOne,
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
  undo: normsLessOne,
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

export const GEMMA_FAMILIES: readonly Family[] = [gemma, gemma2, gemma3, gemma4];
