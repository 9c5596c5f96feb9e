/** Granite-MoE: experts in every layer, and multipliers of embeddings, residuals, scores and logits. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { readActivation, readBiases, readRms } from "./common-fields.ts";
import { positive } from "./config-fields.ts";
import { EXPERT_FIELDS, joinedExperts, readExpertCounts, routerPlace } from "./experts-config.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";
import { noWindow } from "./sliding-window.ts";

const MULTIPLIERS = [
  "embedding_multiplier",
  "residual_multiplier",
  "attention_multiplier",
  "logits_scaling",
] as const;

export const graniteMoe: Architecture = {
  name: "GraniteMoeForCausalLM",
  modelType: "granitemoe",
  released: "Granite 3, those with experts",
  describe(raw) {
    refuseRelatives(raw, [...EXPERT_FIELDS, ...MULTIPLIERS]);
    const defaults = { hiddenSize: 4096, mlpSize: 11008, vocabSize: 32000, trainedContext: 2048 };
    const sizes = readSizes(raw, defaults);
    noWindow(raw, sizes.layers);
    const counts = readExpertCounts(raw, { experts: 8, chosen: 2 });
    const activation = readActivation(raw, "silu");
    const [embedding, residual, attention, logits] = MULTIPLIERS.map((field) => positive(raw, field, 1));
    return buildDecoder(sizes, {
      norm: readRms(raw),
      bias: readBiases(raw, { attention: false }),
      activation,
      rotary: readRotary(raw, sizes),
      embedding: { scale: embedding },
      residualScale: residual,
      attention: () => ({ scale: attention }),
      head: { scale: 1 / logits },
      mlp(layer, name) {
        const { hiddenSize, mlpSize: width } = sizes;
        const gate = { kind: "halves", activation } as const;
        const choices = { ...counts, layer, hiddenSize, width, normalized: true, gate };
        const block = `${name}.block_sparse_moe`;
        const names = { gateUp: `${block}.input_linear.weight`, down: `${block}.output_linear.weight` };
        const router = routerPlace(choices, `${block}.router`, { weight: `${block}.router.layer.weight` });
        return joinedExperts(choices, router, `${block}.experts`, names);
      },
    });
  },
};
