/** OPT: learned positions from row 2 on, layer norms, an MLP without a gate. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { readActivation } from "./common-fields.ts";
import { demand, flag } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readSizes } from "./sizes.ts";

/** Rows of the position table that no position has. */
const OFFSET = 2;

export const opt: Architecture = {
  name: "OPTForCausalLM",
  modelType: "opt",
  released: "OPT, but for 350M",
  describe(raw) {
    refuseRelatives(raw);
    // OPT-350m has its norms behind, and embeddings of another width.
    demand(raw, "do_layer_norm_before", [true]);
    demand(raw, "layer_norm_elementwise_affine", [true]);
    const sizes = readSizes(
      // The class has no field for kv heads.
      { ...raw, num_key_value_heads: null },
      {
        layers: 12,
        heads: 12,
        hiddenSize: 768,
        mlpSize: 3072,
        vocabSize: 50272,
        trainedContext: 2048,
        tiedHead: true,
      },
      { mlpSize: "ffn_dim" },
    );
    demand(raw, "word_embed_proj_dim", [sizes.hiddenSize]);
    const bias = flag(raw, "enable_bias", true);
    const positions = sizes.trainedContext;
    return buildDecoder(
      {
        ...sizes,
        contextLimit: { tokens: positions, reason: "the model's positions are learned one by one" },
      },
      {
        names: {
          embedding: "model.decoder.embed_tokens.weight",
          layers: "model.decoder.layers",
          attentionOut: "self_attn.out_proj",
          mlpIn: ["fc1"],
          mlpOut: "fc2",
          norms: {
            beforeAttention: "self_attn_layer_norm",
            behindAttention: null,
            beforeMlp: "final_layer_norm",
            behindMlp: null,
          },
          finalNorm: flag(raw, "_remove_final_layer_norm", false) ? null : "model.decoder.final_layer_norm",
        },
        // The class has no field for it.
        norm: { kind: "layer", epsilon: 1e-5 },
        bias: { qkv: bias, attentionOut: bias, mlp: bias },
        activation: readActivation(raw, "relu", "activation_function"),
        gated: false,
        embedding: {
          positions: {
            weight: "model.decoder.embed_positions.weight",
            rows: positions + OFFSET,
            offset: OFFSET,
          },
        },
      },
    );
  },
};
