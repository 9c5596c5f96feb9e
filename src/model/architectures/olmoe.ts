/** OLMoE: experts in every layer, one norm over all heads of q and one over all of k. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { normedQueriesAndKeys, readActivation, readBiases, readRms } from "./common-fields.ts";
import { flag } from "./config-fields.ts";
import { EXPERT_FIELDS, readExpertCounts, routerPlace, separateExperts } from "./experts-config.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";
import { noWindow } from "./sliding-window.ts";

export const olmoe: Architecture = {
  name: "OlmoeForCausalLM",
  modelType: "olmoe",
  released: "OLMoE",
  describe(raw) {
    refuseRelatives(raw, EXPERT_FIELDS);
    const sizes = readSizes(raw, {
      layers: 16,
      heads: 16,
      hiddenSize: 2048,
      mlpSize: 2048,
      vocabSize: 50304,
      trainedContext: 4096,
    });
    noWindow(raw, sizes.layers);
    const counts = readExpertCounts(raw, { experts: 64, chosen: 8 });
    const normalized = flag(raw, "norm_topk_prob", false);
    const activation = readActivation(raw, "silu");
    const norm = readRms(raw, 1e-5);
    return buildDecoder(sizes, {
      norm,
      bias: readBiases(raw, { attention: false }),
      activation,
      rotary: readRotary(raw, sizes),
      attention: (_, name) => normedQueriesAndKeys(name, sizes, norm),
      mlp(layer, name) {
        const { hiddenSize, mlpSize: width } = sizes;
        const gate = { kind: "halves", activation } as const;
        const choices = { ...counts, layer, hiddenSize, width, normalized, gate };
        const router = routerPlace(choices, `${name}.mlp.gate`);
        const names = { gate: "gate_proj", up: "up_proj", down: "down_proj" };
        return separateExperts(choices, router, `${name}.mlp.experts`, names);
      },
    });
  },
};
