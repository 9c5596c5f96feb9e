/** gpt-oss: experts in every layer, a sink for each head, a window in every other layer, yarn. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { readBiases, readRms } from "./common-fields.ts";
import { demand, present, type RawConfig } from "./config-fields.ts";
import { EXPERT_FIELDS, joinedExperts, readExpertCounts, routerPlace } from "./experts-config.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";
import { patternWindow, windowIn } from "./sliding-window.ts";

/** What transformers takes for a file that says nothing about rotation. */
const YARN = {
  rope_type: "yarn",
  factor: 32,
  beta_fast: 32,
  beta_slow: 1,
  truncate: false,
  original_max_position_embeddings: 4096,
};

/** transformers has them in its code, not in the configuration. */
const GATE = { kind: "clamped", alpha: 1.702, limit: 7 } as const;

export const gptOss: Architecture = {
  name: "GptOssForCausalLM",
  modelType: "gpt_oss",
  released: "gpt-oss",
  describe(raw) {
    refuseRelatives(raw, EXPERT_FIELDS);
    demand(raw, "hidden_act", ["silu"]);
    demand(raw, "swiglu_limit", [GATE.limit]);
    const sizes = readSizes(raw, {
      layers: 36,
      heads: 64,
      kvHeads: 8,
      hiddenSize: 2880,
      mlpSize: 2880,
      vocabSize: 201088,
      trainedContext: 131072,
      headDim: 64,
    });
    const counts = readExpertCounts(raw, { experts: 128, chosen: 4 });
    const window = patternWindow(2, 128)(raw, sizes.layers);
    return buildDecoder(sizes, {
      norm: readRms(raw, 1e-5),
      bias: readBiases(raw, { attention: true }),
      activation: "silu",
      rotary: readRotary(withYarn(raw), sizes, { theta: 150000 }),
      attention: (layer, name) => ({
        window: windowIn(window, layer),
        sinks: `${name}.self_attn.sinks`,
      }),
      mlp(layer, name) {
        const { hiddenSize, mlpSize: width } = sizes;
        const choices = { ...counts, layer, hiddenSize, width, normalized: true, gate: GATE };
        const experts = `${name}.mlp.experts`;
        return joinedExperts(
          choices,
          routerPlace(choices, `${name}.mlp.router`, { bias: true }),
          experts,
          { gateUp: `${experts}.gate_up_proj`, down: `${experts}.down_proj` },
          {
            storedInOut: true,
            biases: { gateUp: `${experts}.gate_up_proj_bias`, down: `${experts}.down_proj_bias` },
          },
        );
      },
    });
  },
};

function withYarn(raw: RawConfig): RawConfig {
  const isSaid = present(raw.rope_parameters) || present(raw.rope_scaling);
  return isSaid ? raw : { ...raw, rope_parameters: YARN };
}
