/** Granite: a Llama with four multipliers. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { readActivation, readBiases, readRms } from "./common-fields.ts";
import { positive, type RawConfig } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";
import { noWindow } from "./sliding-window.ts";

export const MULTIPLIER_FIELDS = [
  "embedding_multiplier",
  "residual_multiplier",
  "attention_multiplier",
  "logits_scaling",
];

/** What the multipliers are in a description. */
export function readMultipliers(raw: RawConfig) {
  const scale = positive(raw, "attention_multiplier", 1);
  return {
    embedding: { scale: positive(raw, "embedding_multiplier", 1) },
    residualScale: positive(raw, "residual_multiplier", 1),
    attention: () => ({ scale }),
    head: { scale: 1 / positive(raw, "logits_scaling", 1) },
  };
}

export const granite: Architecture = {
  name: "GraniteForCausalLM",
  modelType: "granite",
  released: "Granite 3",
  describe(raw) {
    refuseRelatives(raw, MULTIPLIER_FIELDS);
    const defaults = { hiddenSize: 4096, mlpSize: 11008, vocabSize: 32000, trainedContext: 2048 };
    const sizes = readSizes(raw, defaults);
    noWindow(raw, sizes.layers);
    return buildDecoder(sizes, {
      norm: readRms(raw),
      bias: readBiases(raw, { attention: false, mlp: false }),
      activation: readActivation(raw, "silu"),
      rotary: readRotary(raw, sizes),
      ...readMultipliers(raw),
    });
  },
};
