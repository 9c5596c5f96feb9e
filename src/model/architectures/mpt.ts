/** MPT: scores that fall with the distance, layer norms and linear modules without biases, a plain MLP. */

import { linearBiasSlopes } from "../graph/blocks/linear-bias.ts";
import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { bad, demand, positive, positiveOrNone, type RawConfig, show, withAliases } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readSizes } from "./sizes.ts";

const SIZES = { hidden_size: "d_model", num_attention_heads: "n_heads", num_hidden_layers: "n_layers" };

/** As transformers has it, and as the models were published. */
export const mpt: readonly Architecture[] = ["MptForCausalLM", "MPTForCausalLM"].map((name) => ({
  name,
  modelType: "mpt",
  released: "MPT 7B and 30B",
  describe(file) {
    const raw = withAliases(file, SIZES);
    refuseRelatives(raw);
    // What transformers' class leaves aside, and the models' own code does not.
    demand(raw, "no_bias", [true]);
    demand(raw, "expansion_ratio", [4]);
    demand(raw, "norm_type", ["low_precision_layernorm", "layernorm"]);
    const attention = readAttention(raw);
    const sizes = readSizes(
      { ...raw, num_key_value_heads: null, head_dim: null },
      { layers: 24, heads: 16, hiddenSize: 2048, vocabSize: 50368, trainedContext: 2048, tiedHead: true },
      { mlpSize: "", trainedContext: "max_seq_len" },
    );
    const scale = positiveOrNone(attention, "softmax_scale", null) ?? sizes.headDim ** -0.5;
    const linearBias = { slopes: linearBiasSlopes(sizes.heads) };
    return buildDecoder(sizes, {
      names: {
        embedding: "transformer.wte.weight",
        layers: "transformer.blocks",
        qkv: ["attn.Wqkv"],
        attentionOut: "attn.out_proj",
        mlpIn: ["ffn.up_proj"],
        mlpOut: "ffn.down_proj",
        norms: { beforeAttention: "norm_1", behindAttention: null, beforeMlp: "norm_2", behindMlp: null },
        finalNorm: "transformer.norm_f",
      },
      norm: { kind: "layer", bias: false, epsilon: positive(raw, "layer_norm_epsilon", 1e-5) },
      activation: "gelu",
      gated: false,
      attention: () => ({ scale, linearBias }),
    });
  },
}));

/** @throws TacetError unsupported_model for attention of another kind */
function readAttention({ attn_config: own = null }: RawConfig): RawConfig {
  if (typeof own !== "object" || Array.isArray(own))
    throw bad("attn_config", `must be a record, is ${show(own)}`);
  const attention = { ...own } as RawConfig;
  const inside = "attn_config";
  demand(attention, "attn_type", ["multihead_attention"], inside);
  demand(attention, "clip_qkv", [0], inside);
  demand(attention, "alibi", [true], inside);
  demand(attention, "alibi_bias_max", [8], inside);
  for (const field of ["prefix_lm", "qk_ln", "attn_uses_sequence_id"])
    demand(attention, field, [false], inside);
  return attention;
}
