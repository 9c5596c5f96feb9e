/** Seed-OSS: a Llama with biases on q, k and v. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { readActivation, readRms } from "./common-fields.ts";
import { flag } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";
import { noWindow } from "./sliding-window.ts";

export const seedOss: Architecture = {
  name: "SeedOssForCausalLM",
  modelType: "seed_oss",
  released: "Seed-OSS",
  describe(raw) {
    refuseRelatives(raw);
    const sizes = readSizes(raw, {
      layers: 64,
      heads: 80,
      kvHeads: 8,
      headDim: 128,
      hiddenSize: 4096,
      mlpSize: 27648,
      vocabSize: 155136,
      trainedContext: 524288,
    });
    noWindow(raw, sizes.layers);
    return buildDecoder(sizes, {
      norm: readRms(raw),
      bias: {
        qkv: flag(raw, "attention_bias", true),
        attentionOut: flag(raw, "attention_out_bias", false),
        mlp: flag(raw, "mlp_bias", false),
      },
      activation: readActivation(raw, "silu"),
      rotary: readRotary(raw, sizes),
    });
  },
};
