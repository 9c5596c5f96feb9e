/** GPT-NeoX and Pythia: the three parts of each head beside each other, attention and MLP beside each other. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder, NAMES } from "./build-decoder.ts";
import { readActivation } from "./common-fields.ts";
import { flag, positive, withAliases } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";

export const gptNeoX: Architecture = {
  name: "GPTNeoXForCausalLM",
  modelType: "gpt_neox",
  released: "GPT-NeoX, Pythia",
  describe(file) {
    const raw = withAliases(file, { partial_rotary_factor: "rotary_pct", rope_theta: "rotary_emb_base" });
    refuseRelatives(raw);
    // The class has no field for kv heads.
    const sizes = readSizes(
      { ...raw, num_key_value_heads: null },
      {
        layers: 44,
        heads: 64,
        hiddenSize: 6144,
        mlpSize: 24576,
        vocabSize: 50432,
        trainedContext: 2048,
      },
    );
    const bias = flag(raw, "attention_bias", true);
    return buildDecoder(sizes, {
      names: {
        embedding: "gpt_neox.embed_in.weight",
        layers: "gpt_neox.layers",
        qkv: ["attention.query_key_value"],
        attentionOut: "attention.dense",
        mlpIn: ["mlp.dense_h_to_4h"],
        mlpOut: "mlp.dense_4h_to_h",
        norms: NAMES.norms,
        finalNorm: "gpt_neox.final_layer_norm",
        head: "embed_out.weight",
        headModule: "lm_head",
      },
      norm: { kind: "layer", epsilon: positive(raw, "layer_norm_eps", 1e-5) },
      bias: { qkv: bias, attentionOut: bias, mlp: true },
      activation: readActivation(raw, "gelu"),
      gated: false,
      parallel: flag(raw, "use_parallel_residual", true),
      rotary: readRotary(raw, sizes, { share: 0.25 }),
      attention: () => ({ columns: "groups" }),
    });
  },
};
