/** EXAONE 4: norms behind attention and MLP, heads normed; where some layers have a window, the others turn nothing. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder, NORMS_BEHIND } from "./build-decoder.ts";
import { normedHeads, readActivation, readBiases, readRms } from "./common-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";
import { patternWindow, windowIn } from "./sliding-window.ts";

export const exaone4: Architecture = {
  name: "Exaone4ForCausalLM",
  modelType: "exaone4",
  released: "EXAONE 4",
  describe(raw) {
    refuseRelatives(raw);
    const sizes = readSizes(raw, {
      hiddenSize: 4096,
      mlpSize: 16384,
      vocabSize: 102400,
      trainedContext: 2048,
    });
    const window = patternWindow(4, 4096)(raw, sizes.layers);
    const hasWindows = raw.sliding_window !== null;
    const rotary = readRotary(raw, sizes);
    const norm = readRms(raw, 1e-5);
    return buildDecoder(sizes, {
      names: { norms: NORMS_BEHIND },
      norm,
      bias: readBiases(raw),
      activation: readActivation(raw, "silu"),
      attention(layer, name) {
        const tokens = windowIn(window, layer);
        return {
          ...normedHeads(name, sizes, norm),
          window: tokens,
          rotary: hasWindows && tokens === null ? null : rotary,
        };
      },
    });
  },
};
