/** StarCoder2: layer norms, a bias everywhere, an MLP without a gate. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { readActivation } from "./common-fields.ts";
import { flag, positive } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";
import { oneWindow, windowIn } from "./sliding-window.ts";

export const starcoder2: Architecture = {
  name: "Starcoder2ForCausalLM",
  modelType: "starcoder2",
  released: "StarCoder2",
  describe(raw) {
    refuseRelatives(raw);
    const sizes = readSizes(raw, {
      layers: 30,
      heads: 24,
      kvHeads: 2,
      hiddenSize: 3072,
      mlpSize: 12288,
      vocabSize: 49152,
      trainedContext: 4096,
      tiedHead: true,
    });
    const bias = flag(raw, "use_bias", true);
    const window = oneWindow(null)(raw, sizes.layers);
    return buildDecoder(sizes, {
      names: { mlpIn: ["mlp.c_fc"], mlpOut: "mlp.c_proj" },
      norm: { kind: "layer", epsilon: positive(raw, "norm_epsilon", 1e-5) },
      bias: { qkv: bias, attentionOut: bias, mlp: bias },
      activation: readActivation(raw, "gelu_pytorch_tanh"),
      gated: false,
      rotary: readRotary(raw, sizes),
      attention: (layer) => ({ window: windowIn(window, layer) }),
    });
  },
};
