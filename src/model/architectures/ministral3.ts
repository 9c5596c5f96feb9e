/** Ministral 3: a Mistral whose queries grow with their position. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { readActivation, readBiases, readRms } from "./common-fields.ts";
import { positive, present, type RawConfig } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";
import { oneWindow, windowIn } from "./sliding-window.ts";

/** Of transformers' class, for a file without `rope_parameters`. */
const ROPE = {
  rope_type: "yarn",
  rope_theta: 1e6,
  factor: 16,
  original_max_position_embeddings: 16384,
  beta_fast: 32,
  beta_slow: 1,
  mscale_all_dim: 1,
  mscale: 1,
  llama_4_scaling_beta: 0.1,
};

export const ministral3: Architecture = {
  name: "Ministral3ForCausalLM",
  modelType: "ministral3",
  describe(file) {
    const isSaid = present(file.rope_parameters) || present(file.rope_scaling);
    const raw = isSaid ? file : { ...file, rope_parameters: ROPE };
    refuseRelatives(raw);
    const sizes = readSizes(raw, {
      layers: 34,
      kvHeads: 8,
      headDim: 128,
      hiddenSize: 4096,
      mlpSize: 14336,
      vocabSize: 131072,
      trainedContext: 262144,
    });
    const window = oneWindow(null)(raw, sizes.layers);
    const queryScale = readQueryScale(raw);
    return buildDecoder(sizes, {
      norm: readRms(raw, 1e-5),
      bias: readBiases(raw),
      activation: readActivation(raw, "silu"),
      rotary: readRotary(raw, sizes),
      attention: (layer) => ({ window: windowIn(window, layer), ...queryScale }),
    });
  },
};

function readQueryScale(raw: RawConfig) {
  const field = present(raw.rope_parameters) ? "rope_parameters" : "rope_scaling";
  const rope = raw[field] as RawConfig;
  if (!present(rope.llama_4_scaling_beta)) return {};
  return {
    queryScale: {
      beta: positive(rope, "llama_4_scaling_beta", undefined, field),
      context: positive(rope, "original_max_position_embeddings", undefined, field),
    },
  };
}
