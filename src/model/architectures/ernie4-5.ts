/** ERNIE 4.5, the dense ones: a Llama that turns neighbouring entries. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { readActivation, readRms } from "./common-fields.ts";
import { flag } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";
import { noWindow } from "./sliding-window.ts";

export const ernie45: Architecture = {
  name: "Ernie4_5ForCausalLM",
  modelType: "ernie4_5",
  released: "ERNIE 4.5, the dense ones",
  describe(raw) {
    refuseRelatives(raw);
    const sizes = readSizes(raw, {
      layers: 18,
      heads: 16,
      kvHeads: 2,
      headDim: 128,
      hiddenSize: 1024,
      mlpSize: 3072,
      vocabSize: 103424,
      trainedContext: 131072,
      tiedHead: true,
    });
    noWindow(raw, sizes.layers);
    const bias = flag(raw, "use_bias", false);
    return buildDecoder(sizes, {
      norm: readRms(raw, 1e-5),
      bias: { qkv: bias, attentionOut: bias, mlp: bias },
      activation: readActivation(raw, "silu"),
      rotary: readRotary(raw, sizes, { theta: 500000, pairs: "neighbours" }),
    });
  },
};
