/** GLM-4 as transformers has it: neighbouring entries of half of each head turned, gate and up in one module. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder, type Names, NAMES } from "./build-decoder.ts";
import { readActivation, readRms } from "./common-fields.ts";
import { demand, flag } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";

function glmArchitecture(
  names: Pick<Architecture, "name" | "modelType" | "released">,
  norms: Names["norms"],
): Architecture {
  return {
    ...names,
    describe(raw) {
      refuseRelatives(raw);
      demand(raw, "mlp_bias", [false]);
      const sizes = readSizes(raw, {
        layers: 40,
        kvHeads: 2,
        headDim: 128,
        hiddenSize: 4096,
        mlpSize: 13696,
        vocabSize: 151552,
        trainedContext: 131072,
      });
      return buildDecoder(sizes, {
        names: { mlpIn: ["mlp.gate_up_proj"], norms },
        norm: readRms(raw, 1.5625e-7),
        bias: { qkv: flag(raw, "attention_bias", true) },
        activation: readActivation(raw, "silu"),
        rotary: readRotary(raw, sizes, { share: 0.5, pairs: "neighbours" }),
      });
    },
  };
}

export const glm = glmArchitecture(
  { name: "GlmForCausalLM", modelType: "glm", released: "GLM-4-9B, GLM-Edge" },
  NAMES.norms,
);

/** GLM-4-0414: norms behind attention and MLP too. */
export const glm4 = glmArchitecture(
  { name: "Glm4ForCausalLM", modelType: "glm4", released: "GLM-4-0414" },
  {
    beforeAttention: "input_layernorm",
    behindAttention: "post_self_attn_layernorm",
    beforeMlp: "post_attention_layernorm",
    behindMlp: "post_mlp_layernorm",
  },
);
