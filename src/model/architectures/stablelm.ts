/** StableLM: layer norms, a part of each head turned, in some models attention and MLP beside each other. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder, NAMES } from "./build-decoder.ts";
import { readActivation } from "./common-fields.ts";
import { demand, flag, positive } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";

export const stableLm: Architecture = {
  name: "StableLmForCausalLM",
  modelType: "stablelm",
  released: "StableLM 3B and 2, Stable Code",
  describe(raw) {
    refuseRelatives(raw);
    demand(raw, "qk_layernorm", [false]);
    const sizes = readSizes(raw, {
      hiddenSize: 2560,
      mlpSize: 6912,
      vocabSize: 50304,
      trainedContext: 4096,
    });
    const parallel = flag(raw, "use_parallel_residual", false);
    return buildDecoder(sizes, {
      names: parallel ? { norms: { ...NAMES.norms, beforeMlp: null } } : {},
      norm: { kind: "layer", epsilon: positive(raw, "layer_norm_eps", 1e-5) },
      bias: { qkv: flag(raw, "use_qkv_bias", false) },
      activation: readActivation(raw, "silu"),
      parallel,
      rotary: readRotary(raw, sizes, { share: 0.25 }),
    });
  },
};
