/** Ministral 3: a Mistral with yarn, whose queries grow with their position. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { readActivation, readBiases, readRms } from "./common-fields.ts";
import { positive, present } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { ropeRecord } from "./rope-config.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";
import { oneWindow, windowIn } from "./sliding-window.ts";

/** What transformers takes for a file that says nothing about rotation. */
const YARN = {
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

/** The first one is another spelling of the file's own field, the second one is about queries. */
const READ = ["max_position_embeddings", "llama_4_scaling_beta"];

export const ministral3: Architecture = {
  name: "Ministral3ForCausalLM",
  modelType: "ministral3",
  released: "Ministral 3",
  describe(raw) {
    refuseRelatives(raw);
    const sizes = readSizes(raw, {
      layers: 34,
      kvHeads: 8,
      hiddenSize: 4096,
      mlpSize: 14336,
      vocabSize: 131072,
      trainedContext: 262144,
      headDim: 128,
    });
    const window = oneWindow(null)(raw, sizes.layers);
    const isSaid = present(raw.rope_parameters) || present(raw.rope_scaling);
    const said = isSaid ? raw : { ...raw, rope_parameters: YARN };
    const rotary = readRotary(said, sizes, { reads: READ });
    const { fields, path } = ropeRecord(said)!;
    // transformers cannot run a file without them.
    const beta = positive(fields, "llama_4_scaling_beta", undefined, path);
    const context = positive(fields, "original_max_position_embeddings", undefined, path);
    const queryScale = { beta, context };
    return buildDecoder(sizes, {
      norm: readRms(raw, 1e-5),
      bias: readBiases(raw),
      activation: readActivation(raw, "silu"),
      rotary,
      attention: (layer) => ({ window: windowIn(window, layer), queryScale }),
    });
  },
};
