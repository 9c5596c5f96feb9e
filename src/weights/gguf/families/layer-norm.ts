/** Families from before gates and root mean squares: GPT-2, GPT-NeoX, BLOOM, Falcon, MPT. */
import { hasBias, hasTensor, keyValueHeads } from "../family-fields.ts";
import { partsBehindEachOther } from "../row-orders.ts";
import type { TensorNames } from "../tensor-names.ts";
import type { Family } from "./family.ts";

const gpt2: Family = {
  named: ["gpt2"],
  architecture: "GPT2LMHeadModel",
  modelType: "gpt2",
  names: {
    global: {
      token_embd: "transformer.wte",
      position_embd: "transformer.wpe",
      output_norm: "transformer.ln_f",
      output: "lm_head",
    },
    layers: "transformer.h",
    layer: {
      attn_norm: "ln_1",
      attn_qkv: "attn.c_attn",
      attn_output: "attn.c_proj",
      ffn_norm: "ln_2",
      ffn_up: "mlp.c_fc",
      ffn_down: "mlp.c_proj",
    },
  },
  storedInOut: new Set(["attn_qkv", "attn_output", "ffn_up", "ffn_down"]),
  epsilon: "layer_norm_epsilon",
  config: (m) => ({
    n_embd: m.count(".embedding_length"),
    n_head: m.count(".attention.head_count"),
    n_layer: m.count(".block_count"),
    n_positions: m.count(".context_length"),
    n_inner: m.count(".feed_forward_length"),
  }),
};

/** What BLOOM, Falcon and GPT-NeoX call the modules of a layer. */
const MLP_NAMES = { ffn_up: "mlp.dense_h_to_4h", ffn_down: "mlp.dense_4h_to_h" } as const;
const TWO_NORMS = { attn_norm: "input_layernorm", ffn_norm: "post_attention_layernorm" } as const;

const gptNeoX: Family = {
  named: ["gptneox"],
  architecture: "GPTNeoXForCausalLM",
  modelType: "gpt_neox",
  names: {
    global: {
      token_embd: "gpt_neox.embed_in",
      output_norm: "gpt_neox.final_layer_norm",
      output: "embed_out",
    },
    layers: "gpt_neox.layers",
    layer: {
      ...TWO_NORMS,
      ...MLP_NAMES,
      attn_qkv: "attention.query_key_value",
      attn_output: "attention.dense",
    },
  },
  rowOrder: partsBehindEachOther,
  epsilon: "layer_norm_eps",
  partialRotary: true,
  config: (m) => ({
    attention_bias: hasBias(m, "attn_qkv"),
    use_parallel_residual: m.flag(".use_parallel_residual", true),
  }),
};

/** BLOOM's and Falcon's. */
const WORD_NAMES = {
  global: {
    token_embd: "transformer.word_embeddings",
    token_embd_norm: "transformer.word_embeddings_layernorm",
    output_norm: "transformer.ln_f",
    output: "lm_head",
  },
  layers: "transformer.h",
  layer: {
    ...MLP_NAMES,
    attn_qkv: "self_attention.query_key_value",
    attn_output: "self_attention.dense",
  },
} as const satisfies TensorNames;

const bloom: Family = {
  named: ["bloom"],
  architecture: "BloomForCausalLM",
  modelType: "bloom",
  names: { ...WORD_NAMES, layer: { ...WORD_NAMES.layer, ...TWO_NORMS } },
  rowOrder: partsBehindEachOther,
  epsilon: "layer_norm_epsilon",
  config(m) {
    m.demand(".feed_forward_length", [4 * m.count(".embedding_length")]);
    return {
      n_layer: m.count(".block_count"),
      n_head: m.count(".attention.head_count"),
      seq_length: m.count(".context_length"),
    };
  },
};

/** One norm for attention and MLP. */
const falcon: Family = {
  named: ["falcon"],
  architecture: "FalconForCausalLM",
  modelType: "falcon",
  names: { ...WORD_NAMES, layer: { ...WORD_NAMES.layer, attn_norm: "input_layernorm" } },
  rowOrder: partsBehindEachOther,
  epsilon: "layer_norm_epsilon",
  config(m) {
    const kvHeads = keyValueHeads(m);
    return {
      ffn_hidden_size: m.count(".feed_forward_length"),
      new_decoder_architecture: kvHeads > 1,
      multi_query: kvHeads === 1,
      num_kv_heads: kvHeads,
      num_ln_in_parallel_attn: hasTensor(m, "blk.0.attn_norm_2.weight") ? 2 : 1,
      parallel_attn: true,
      bias: hasBias(m, "attn_qkv"),
    };
  },
};

/** One for each: Falcon 40B and 180B. */
const largeFalcon: Family = {
  ...falcon,
  isIt: (m) => hasTensor(m, "blk.0.attn_norm_2.weight"),
  names: { ...WORD_NAMES, layer: { ...WORD_NAMES.layer, attn_norm: "ln_mlp", attn_norm_2: "ln_attn" } },
};

const mpt: Family = {
  named: ["mpt"],
  architecture: "MptForCausalLM",
  modelType: "mpt",
  names: {
    global: { token_embd: "transformer.wte", output_norm: "transformer.norm_f", output: "lm_head" },
    layers: "transformer.blocks",
    layer: {
      attn_norm: "norm_1",
      attn_qkv: "attn.Wqkv",
      attn_output: "attn.out_proj",
      ffn_norm: "norm_2",
      ffn_up: "ffn.up_proj",
      ffn_down: "ffn.down_proj",
    },
  },
  epsilon: "layer_norm_epsilon",
  config(m) {
    m.demand(".feed_forward_length", [4 * m.count(".embedding_length")]);
    m.demand(".attention.head_count_kv", [m.count(".attention.head_count")]);
    m.demand(".attention.clamp_kqv", [0]);
    if (m.value(".attention.max_alibi_bias") !== 8) {
      throw m.unsupported(
        ".attention.max_alibi_bias",
        "scores must fall with the distance, by 8 at the most",
      );
    }
    return { max_seq_len: m.count(".context_length"), attn_config: { alibi: true } };
  },
};

export const LAYER_NORM_FAMILIES: readonly Family[] = [gpt2, gptNeoX, bloom, largeFalcon, falcon, mpt];
