/** Falcon: q, k and v in one module, one key and value head or some; attention and MLP beside each other. */

import { linearBiasSlopes } from "../graph/blocks/linear-bias.ts";
import type { Architecture } from "./architecture.ts";
import { buildDecoder, type Names } from "./build-decoder.ts";
import { readActivation } from "./common-fields.ts";
import { count, flag, positive, type RawConfig, unsupported, withAliases } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";

export const falcon: Architecture = {
  name: "FalconForCausalLM",
  modelType: "falcon",
  released: "Falcon 7B to 180B, Falcon-RW",
  describe(file) {
    const raw = withAliases(file, { hidden_size: "n_embed" });
    refuseRelatives(raw, ["alibi"]);
    // Falcon-RW. Its biases are added before the scores are divided by the root of the heads' size.
    const hasAlibi = flag(raw, "alibi", false);
    const isNew = flag(raw, "new_decoder_architecture", false);
    const isMultiQuery = !isNew && flag(raw, "multi_query", true);
    const heads = count(raw, "num_attention_heads", 71);
    const kvHeads = isMultiQuery ? 1 : isNew ? count(raw, "num_kv_heads", heads) : heads;
    const sizes = readSizes(
      { ...raw, num_attention_heads: heads, num_key_value_heads: kvHeads },
      { hiddenSize: 4544, vocabSize: 65024, trainedContext: 2048, tiedHead: true },
      { mlpSize: "ffn_hidden_size" },
    );
    const parallel = flag(raw, "parallel_attn", true);
    const bias = flag(raw, "bias", false);
    const alibi = { slopes: linearBiasSlopes(heads), roundedTimes: sizes.headDim ** -0.5 };
    return buildDecoder(sizes, {
      names: {
        embedding: "transformer.word_embeddings.weight",
        layers: "transformer.h",
        qkv: ["self_attention.query_key_value"],
        attentionOut: "self_attention.dense",
        mlpIn: ["mlp.dense_h_to_4h"],
        mlpOut: "mlp.dense_4h_to_h",
        norms: readNorms(raw, { isNew, parallel }),
        finalNorm: "transformer.ln_f",
      },
      norm: { kind: "layer", epsilon: positive(raw, "layer_norm_epsilon", 1e-5) },
      bias: { qkv: bias, attentionOut: bias, mlp: bias },
      activation: readActivation(raw, "gelu", "activation"),
      gated: false,
      parallel: parallel || isNew,
      rotary: hasAlibi ? null : readRotary(raw, sizes),
      attention: () => ({
        columns: isMultiQuery ? "parts" : "groups",
        ...(hasAlibi ? { linearBias: alibi } : {}),
      }),
    });
  },
};

/** One norm for attention and MLP, one for each, or one after the other. */
function readNorms(
  raw: RawConfig,
  { isNew, parallel }: { readonly isNew: boolean; readonly parallel: boolean },
): Names["norms"] {
  const none = { behindAttention: null, behindMlp: null };
  const norms = count(raw, "num_ln_in_parallel_attn", isNew ? 2 : 1);
  if (norms === 2 && isNew && parallel) return { ...none, beforeAttention: "ln_attn", beforeMlp: "ln_mlp" };
  if (parallel && norms === 1) return { ...none, beforeAttention: "input_layernorm", beforeMlp: null };
  if (isNew || norms !== 1) throw unsupported("num_ln_in_parallel_attn", norms);
  return { ...none, beforeAttention: "input_layernorm", beforeMlp: "post_attention_layernorm" };
}
