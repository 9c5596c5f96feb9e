/** Mixtral: a Mistral with experts in every layer. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { readActivation, readBiases, readRms } from "./common-fields.ts";
import { EXPERT_FIELDS, readExpertCounts, routerPlace, separateExperts } from "./experts-config.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";
import { oneWindow, windowIn } from "./sliding-window.ts";

export const mixtral: Architecture = {
  name: "MixtralForCausalLM",
  modelType: "mixtral",
  released: "Mixtral",
  describe(raw) {
    refuseRelatives(raw, EXPERT_FIELDS);
    const sizes = readSizes(raw, {
      hiddenSize: 4096,
      mlpSize: 14336,
      kvHeads: 8,
      vocabSize: 32000,
      trainedContext: 131072,
    });
    const counts = readExpertCounts(raw, { experts: 8, chosen: 2 });
    const activation = readActivation(raw, "silu");
    const window = oneWindow(null)(raw, sizes.layers);
    return buildDecoder(sizes, {
      norm: readRms(raw, 1e-5),
      bias: readBiases(raw),
      activation,
      rotary: readRotary(raw, sizes, { theta: 1e6 }),
      attention: (layer) => ({ window: windowIn(window, layer) }),
      mlp(layer, name) {
        const { hiddenSize, mlpSize: width } = sizes;
        const gate = { kind: "halves", activation } as const;
        const choices = { ...counts, layer, hiddenSize, width, normalized: true, gate };
        const block = `${name}.block_sparse_moe`;
        const router = routerPlace(choices, `${name}.mlp.gate`, { weight: `${block}.gate.weight` });
        const names = { gate: "w1", up: "w3", down: "w2" };
        return separateExperts(choices, router, `${block}.experts`, names, `${name}.mlp.experts`);
      },
    });
  },
};
