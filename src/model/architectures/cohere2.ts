/** Command R7B and its kin: attention and MLP beside each other, positions only in the layers with a window. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { readActivation, readBiases } from "./common-fields.ts";
import { demand, positive } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";
import { patternWindow, windowIn } from "./sliding-window.ts";

export const cohere2: Architecture = {
  name: "Cohere2ForCausalLM",
  modelType: "cohere2",
  released: "Command R7B, Command A",
  describe(raw) {
    refuseRelatives(raw, ["logit_scale"]);
    demand(raw, "use_qk_norm", [false]);
    demand(raw, "use_parallel_block", [true]);
    demand(raw, "use_gated_activation", [true]);
    demand(raw, "rotary_pct", [1]);
    const sizes = readSizes(raw, {
      layers: 40,
      heads: 64,
      hiddenSize: 8192,
      mlpSize: 22528,
      vocabSize: 256000,
      trainedContext: 8192,
      tiedHead: true,
    });
    const rotary = readRotary(raw, sizes, { pairs: "neighbours" });
    const window = patternWindow(4, 4096)(raw, sizes.layers);
    return buildDecoder(sizes, {
      names: {
        norms: {
          beforeAttention: "input_layernorm",
          behindAttention: null,
          beforeMlp: null,
          behindMlp: null,
        },
      },
      norm: { kind: "layer", bias: false, epsilon: positive(raw, "layer_norm_eps", 1e-5) },
      bias: readBiases(raw, { attention: false }),
      activation: readActivation(raw, "silu"),
      parallel: true,
      head: { scale: positive(raw, "logit_scale", 0.0625) },
      attention(layer) {
        const tokens = windowIn(window, layer);
        return { window: tokens, rotary: tokens === null ? null : rotary };
      },
    });
  },
};
