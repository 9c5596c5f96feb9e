/** Phi 1 to 2 and Phi 3 to 4: two families that share little but the name. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { readActivation, readBiases, readRms } from "./common-fields.ts";
import { demand, positive } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";
import { oneWindow, windowIn } from "./sliding-window.ts";

/** Attention and MLP beside each other, behind one layer norm; half of each head turned; a bias everywhere. */
export const phi: Architecture = {
  name: "PhiForCausalLM",
  modelType: "phi",
  released: "Phi 1 to 2",
  describe(raw) {
    refuseRelatives(raw);
    demand(raw, "qk_layernorm", [false]);
    const sizes = readSizes(raw, {
      layers: 24,
      hiddenSize: 2048,
      mlpSize: 8192,
      vocabSize: 51200,
      trainedContext: 2048,
    });
    return buildDecoder(sizes, {
      names: {
        attentionOut: "self_attn.dense",
        mlpIn: ["mlp.fc1"],
        mlpOut: "mlp.fc2",
        norms: {
          beforeAttention: "input_layernorm",
          behindAttention: null,
          beforeMlp: null,
          behindMlp: null,
        },
        finalNorm: "model.final_layernorm",
      },
      norm: { kind: "layer", epsilon: positive(raw, "layer_norm_eps", 1e-5) },
      bias: { qkv: true, attentionOut: true, mlp: true },
      activation: readActivation(raw, "gelu_new"),
      gated: false,
      parallel: true,
      rotary: readRotary(raw, sizes, { share: 0.5 }),
      headBias: true,
    });
  },
};

/** A Llama with q, k and v in one module, gate and up in another; a part of each head turned in some. */
/** What its first files call it. */
const LONGROPE = { su: "longrope", yarn: "longrope" };

export const phi3: Architecture = {
  name: "Phi3ForCausalLM",
  modelType: "phi3",
  released: "Phi 3 to 4",
  describe(raw) {
    refuseRelatives(raw);
    const sizes = readSizes(raw, {
      hiddenSize: 3072,
      mlpSize: 8192,
      vocabSize: 32064,
      trainedContext: 4096,
    });
    const window = oneWindow(null)(raw, sizes.layers);
    return buildDecoder(sizes, {
      names: { qkv: ["self_attn.qkv_proj"], mlpIn: ["mlp.gate_up_proj"] },
      norm: readRms(raw, 1e-5),
      bias: readBiases(raw),
      activation: readActivation(raw, "silu"),
      rotary: readRotary(raw, sizes, { share: 1, originalContext: 4096, kindOf: LONGROPE }),
      attention: (layer) => ({ window: windowIn(window, layer) }),
    });
  },
};
