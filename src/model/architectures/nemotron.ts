/** Nemotron and Minitron: layer norms that store g - 1, squared ReLU without a gate, half of each head turned. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { readActivation, readBiases } from "./common-fields.ts";
import { positive } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";

export const nemotron: Architecture = {
  name: "NemotronForCausalLM",
  modelType: "nemotron",
  released: "Nemotron 3 and 4, Minitron",
  describe(raw) {
    refuseRelatives(raw);
    const sizes = readSizes(raw, {
      heads: 48,
      hiddenSize: 6144,
      mlpSize: 24576,
      vocabSize: 256000,
      trainedContext: 4096,
    });
    return buildDecoder(sizes, {
      names: { mlpIn: ["mlp.up_proj"] },
      norm: { kind: "layer", plusOne: true, epsilon: positive(raw, "norm_eps", 1e-5) },
      bias: readBiases(raw, { attention: false, mlp: false }),
      activation: readActivation(raw, "relu2"),
      gated: false,
      rotary: readRotary(raw, sizes, { share: 0.5 }),
    });
  },
};
