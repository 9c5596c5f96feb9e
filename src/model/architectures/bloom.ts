/** BLOOM: no positions but scores that fall with the distance; a norm of the embedding. */

import { linearBiasSlopes } from "../graph/blocks/linear-bias.ts";
import type { Architecture } from "./architecture.ts";
import { buildDecoder, NAMES, normOf } from "./build-decoder.ts";
import { flag, positive, withAliases } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readSizes } from "./sizes.ts";

export const bloom: Architecture = {
  name: "BloomForCausalLM",
  modelType: "bloom",
  released: "BLOOM, BLOOMZ",
  describe(file) {
    const raw = withAliases(file, {
      hidden_size: "n_embed",
      n_layer: "num_hidden_layers",
      n_head: "num_attention_heads",
    });
    refuseRelatives(raw);
    const sizes = readSizes(
      { ...raw, num_key_value_heads: null },
      {
        layers: 2,
        heads: 8,
        hiddenSize: 64,
        vocabSize: 250880,
        trainedContext: 2048,
        tiedHead: true,
      },
      // The class knows neither: its MLP is four times as wide, and it has no last position.
      { layers: "n_layer", heads: "n_head", mlpSize: "", trainedContext: "seq_length" },
    );
    const norm = { kind: "layer", epsilon: positive(raw, "layer_norm_epsilon", 1e-5) } as const;
    const slopes = linearBiasSlopes(sizes.heads);
    return buildDecoder(sizes, {
      names: {
        embedding: "transformer.word_embeddings.weight",
        layers: "transformer.h",
        qkv: ["self_attention.query_key_value"],
        attentionOut: "self_attention.dense",
        mlpIn: ["mlp.dense_h_to_4h"],
        mlpOut: "mlp.dense_4h_to_h",
        norms: NAMES.norms,
        finalNorm: "transformer.ln_f",
      },
      norm,
      bias: { qkv: true, attentionOut: true, mlp: true },
      activation: "gelu_new",
      gated: false,
      embedding: { norm: normOf("transformer.word_embeddings_layernorm", sizes.hiddenSize, norm) },
      residual: flag(raw, "apply_residual_connection_post_layernorm", false) ? "normed" : "input",
      attention: () => ({ columns: "groups", linearBias: { slopes } }),
    });
  },
};
