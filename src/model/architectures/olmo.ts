/** OLMo 2 and 3: norms behind attention and MLP alone, and one over all heads of q and of k. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder, NORMS_BEHIND } from "./build-decoder.ts";
import { normedQueriesAndKeys, readActivation, readBiases, readRms } from "./common-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary, readRotaryOf } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";
import { noWindow, patternWindow, windowIn } from "./sliding-window.ts";

const SIZES = { hiddenSize: 4096, mlpSize: 11008, vocabSize: 50304, trainedContext: 2048 };

export const olmo2: Architecture = {
  name: "Olmo2ForCausalLM",
  modelType: "olmo2",
  released: "OLMo 2",
  describe(raw) {
    refuseRelatives(raw);
    const sizes = readSizes(raw, SIZES);
    noWindow(raw, sizes.layers);
    const norm = readRms(raw, 1e-5);
    return buildDecoder(sizes, {
      names: { norms: NORMS_BEHIND },
      norm,
      bias: readBiases(raw, { attention: false }),
      activation: readActivation(raw, "silu"),
      rotary: readRotary(raw, sizes),
      attention: (_, name) => normedQueriesAndKeys(name, sizes, norm),
    });
  },
};

/** A window in three layers of four; scaled angles in the others alone. */
export const olmo3: Architecture = {
  name: "Olmo3ForCausalLM",
  modelType: "olmo3",
  released: "OLMo 3",
  describe(raw) {
    refuseRelatives(raw);
    const sizes = readSizes(raw, SIZES);
    const window = patternWindow(4, 4096)(raw, sizes.layers);
    const { rope_theta, rope_scaling } = raw;
    const defaults = { theta: 500000 };
    const full = readRotaryOf(raw, "full_attention", sizes, { rope_theta, rope_scaling }, defaults);
    const local = readRotaryOf(raw, "sliding_attention", sizes, { rope_theta }, defaults);
    const norm = readRms(raw, 1e-5);
    return buildDecoder(sizes, {
      names: { norms: NORMS_BEHIND },
      norm,
      bias: readBiases(raw, { attention: false }),
      activation: readActivation(raw, "silu"),
      attention(layer, name) {
        const tokens = windowIn(window, layer);
        return {
          ...normedQueriesAndKeys(name, sizes, norm),
          window: tokens,
          rotary: tokens === null ? full : local,
        };
      },
    });
  },
};
