/** Llama 1 to 3, and what is built alike: Mistral, Qwen2 and Qwen3 differ in biases, norms of heads and windows. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { normedHeads, readActivation, readBiases, readRms } from "./common-fields.ts";
import { demand } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";
import { laterWindow, noWindow, oneWindow, windowIn } from "./sliding-window.ts";

export const llama: Architecture = {
  name: "LlamaForCausalLM",
  modelType: "llama",
  released: "Llama 1 to 3, Vicuna, Yi, SmolLM 1 and 2, DeepSeek-R1-Distill-Llama",
  describe(raw) {
    refuseRelatives(raw);
    const defaults = { hiddenSize: 4096, mlpSize: 11008, vocabSize: 32000, trainedContext: 2048 };
    const sizes = readSizes(raw, defaults);
    noWindow(raw, sizes.layers);
    return buildDecoder(sizes, {
      norm: readRms(raw),
      bias: readBiases(raw, { attention: false, mlp: false }),
      activation: readActivation(raw, "silu"),
      rotary: readRotary(raw, sizes),
    });
  },
};

/** A Llama whose tokens see a window of the context. */
export const mistral: Architecture = {
  name: "MistralForCausalLM",
  modelType: "mistral",
  released: "Mistral 7B, Nemo, Small",
  describe(raw) {
    refuseRelatives(raw);
    const sizes = readSizes(raw, {
      hiddenSize: 4096,
      mlpSize: 14336,
      kvHeads: 8,
      vocabSize: 32000,
      trainedContext: 131072,
    });
    const window = oneWindow(4096)(raw, sizes.layers);
    return buildDecoder(sizes, {
      norm: readRms(raw),
      bias: readBiases(raw),
      activation: readActivation(raw, "silu"),
      rotary: readRotary(raw, sizes),
      attention: (layer) => ({ window: windowIn(window, layer) }),
    });
  },
};

/** Qwen2 and Qwen2.5: a Llama with a bias on q, k and v, and a window in the later layers if it is asked for. */
export const qwen2: Architecture = {
  name: "Qwen2ForCausalLM",
  modelType: "qwen2",
  released: "Qwen1.5 to 2.5, DeepSeek-R1-Distill-Qwen",
  describe(raw) {
    refuseRelatives(raw);
    demand(raw, "attention_bias", [true]);
    demand(raw, "mlp_bias", [false]);
    const defaults = { hiddenSize: 4096, mlpSize: 22016, vocabSize: 151936, trainedContext: 32768 };
    const sizes = readSizes(raw, defaults);
    const window = laterWindow(raw, sizes.layers);
    return buildDecoder(sizes, {
      norm: readRms(raw),
      bias: { qkv: true },
      activation: readActivation(raw, "silu"),
      rotary: readRotary(raw, sizes),
      attention: (layer) => ({ window: windowIn(window, layer) }),
    });
  },
};

/** A Llama whose heads of q and k are normed before they are turned. */
export const qwen3: Architecture = {
  name: "Qwen3ForCausalLM",
  modelType: "qwen3",
  released: "Qwen3",
  describe(raw) {
    refuseRelatives(raw);
    const sizes = readSizes(raw, {
      hiddenSize: 4096,
      mlpSize: 22016,
      vocabSize: 151936,
      trainedContext: 32768,
      headDim: 128,
    });
    const window = laterWindow(raw, sizes.layers);
    const norm = readRms(raw);
    return buildDecoder(sizes, {
      norm,
      bias: readBiases(raw, { attention: false }),
      activation: readActivation(raw, "silu"),
      rotary: readRotary(raw, sizes),
      attention: (layer, name) => ({
        window: windowIn(window, layer),
        ...normedHeads(name, sizes, norm),
      }),
    });
  },
};
