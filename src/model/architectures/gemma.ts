/** Gemma 1 to 3: norms that store g - 1, a scaled embedding; from the second on a norm behind attention and MLP too. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder, FOUR_NORMS } from "./build-decoder.ts";
import { normedHeads, readActivation, readBiases, readRms } from "./common-fields.ts";
import { demand, positive, positiveOrNone, type RawConfig } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary, readRotaryOf } from "./rotary-config.ts";
import { readSizes, type SizeDefaults } from "./sizes.ts";
import { patternWindow, windowIn } from "./sliding-window.ts";

export const gemma: Architecture = {
  name: "GemmaForCausalLM",
  modelType: "gemma",
  released: "Gemma 1",
  describe(raw) {
    refuseRelatives(raw);
    // Released files say "gelu", and mean this one.
    const tanh = "gelu_pytorch_tanh";
    demand(raw, "hidden_activation", [tanh]);
    const sizes = readSizes(raw, {
      layers: 28,
      heads: 16,
      kvHeads: 16,
      headDim: 256,
      hiddenSize: 3072,
      mlpSize: 24576,
      vocabSize: 256000,
      trainedContext: 8192,
      tiedHead: true,
    });
    return buildDecoder(sizes, {
      norm: { ...readRms(raw), plusOne: true },
      bias: readBiases(raw, { attention: false }),
      activation: raw.hidden_act === "gelu" ? tanh : readActivation(raw, tanh),
      rotary: readRotary(raw, sizes),
      embedding: { scale: Math.sqrt(sizes.hiddenSize) },
    });
  },
};

/** What the second and the third have in common. */
const SECOND: SizeDefaults = {
  layers: 26,
  heads: 8,
  kvHeads: 4,
  headDim: 256,
  hiddenSize: 2304,
  mlpSize: 9216,
  vocabSize: 256000,
  trainedContext: 8192,
  tiedHead: true,
};
const SOFT_CAPS = ["query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping"];

function readSecond(raw: RawConfig, caps: { attention: number | null; final: number | null }) {
  refuseRelatives(raw, SOFT_CAPS);
  const softCap = positiveOrNone(raw, "attn_logit_softcapping", caps.attention);
  const finalCap = positiveOrNone(raw, "final_logit_softcapping", caps.final);
  return {
    norm: { ...readRms(raw), plusOne: true },
    attention: {
      scale: positive(raw, "query_pre_attn_scalar", 256) ** -0.5,
      ...(softCap === undefined ? {} : { softCap }),
    },
    layout: {
      names: { norms: FOUR_NORMS },
      bias: readBiases(raw, { attention: false }),
      activation: readActivation(raw, "gelu_pytorch_tanh", "hidden_activation"),
      head: finalCap === undefined ? {} : { softCap: finalCap },
    },
  };
}

/** Scores and logits in a soft cap, a window in every other layer. */
export const gemma2: Architecture = {
  name: "Gemma2ForCausalLM",
  modelType: "gemma2",
  released: "Gemma 2",
  describe(raw) {
    const { norm, attention, layout } = readSecond(raw, { attention: 50, final: 30 });
    const sizes = readSizes(raw, SECOND);
    const window = patternWindow(2, 4096)(raw, sizes.layers);
    return buildDecoder(sizes, {
      ...layout,
      norm,
      rotary: readRotary(raw, sizes),
      embedding: { scale: Math.sqrt(sizes.hiddenSize) },
      attention: (layer) => ({ ...attention, window: windowIn(window, layer) }),
    });
  },
};

/** Heads normed, a window in five layers of six, which turn by other angles. */
export const gemma3: Architecture = {
  name: "Gemma3ForCausalLM",
  modelType: "gemma3_text",
  released: "Gemma 3, 270M and 1B",
  describe(raw) {
    // The class has the field and no use for it.
    demand(raw, "attn_logit_softcapping", []);
    const { norm, attention, layout } = readSecond(raw, { attention: null, final: null });
    const sizes = readSizes(raw, { ...SECOND, vocabSize: 262208, trainedContext: 131072 });
    const window = patternWindow(6, 4096)(raw, sizes.layers);
    const { rope_theta, rope_scaling, rope_local_base_freq } = raw;
    const full = readRotaryOf(raw, "full_attention", sizes, { rope_theta, rope_scaling }, { theta: 1e6 });
    const local = readRotaryOf(raw, "sliding_attention", sizes, { rope_theta: rope_local_base_freq });
    return buildDecoder(sizes, {
      ...layout,
      norm,
      embedding: { scale: Math.sqrt(sizes.hiddenSize) },
      attention(layer, name) {
        const tokens = windowIn(window, layer);
        return {
          ...attention,
          ...normedHeads(name, sizes, norm),
          window: tokens,
          rotary: tokens === null ? full : local,
        };
      },
    });
  },
};
