/** Qwen2-MoE and Qwen3-MoE: Qwen2 and Qwen3 with experts in all or some layers. */

import type { Activation } from "../graph/blocks/activation.ts";
import type { Experts } from "../graph/modules/experts.ts";
import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { normedHeads, readActivation, readBiases, readRms } from "./common-fields.ts";
import { bad, count, demand, flag, present, type RawConfig, show, unsupported } from "./config-fields.ts";
import {
  EXPERT_FIELDS,
  type ExpertCounts,
  readExpertCounts,
  routerPlace,
  separateExperts,
} from "./experts-config.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes, type Sizes } from "./sizes.ts";
import { laterWindow, noWindow, oneWindow, windowIn } from "./sliding-window.ts";

export const qwen2Moe: Architecture = {
  name: "Qwen2MoeForCausalLM",
  modelType: "qwen2_moe",
  released: "Qwen1.5-MoE, Qwen2-57B-A14B",
  describe(raw) {
    refuseRelatives(raw, EXPERT_FIELDS);
    demand(raw, "attention_bias", [true]);
    demand(raw, "mlp_bias", [false]);
    const sizes = readSizes(raw, {
      layers: 24,
      heads: 16,
      kvHeads: 16,
      hiddenSize: 2048,
      mlpSize: 5632,
      vocabSize: 151936,
      trainedContext: 32768,
    });
    // Which layers have it, if the file does not list them, is another rule here than in Qwen2.
    if (raw.use_sliding_window === true && !present(raw.layer_types)) {
      throw unsupported("use_sliding_window", true);
    }
    const window = laterWindow(raw, sizes.layers);
    const activation = readActivation(raw, "silu");
    const experts = readExperts(raw, sizes, activation, {
      counts: { experts: 60, chosen: 4 },
      width: 1408,
    });
    const sharedWidth = count(raw, "shared_expert_intermediate_size", 5632);
    return buildDecoder(sizes, {
      norm: readRms(raw),
      bias: { qkv: flag(raw, "qkv_bias", true) },
      activation,
      rotary: readRotary(raw, sizes),
      attention: (layer) => ({ window: windowIn(window, layer) }),
      mlp(layer, name) {
        const found = experts(layer, name);
        const shared = sharedExpert(sizes, activation, sharedWidth, layer, `${name}.mlp`);
        return found && { ...found, shared };
      },
    });
  },
};

export const qwen3Moe: Architecture = {
  name: "Qwen3MoeForCausalLM",
  modelType: "qwen3_moe",
  released: "Qwen3-30B-A3B, Qwen3-235B-A22B",
  describe(raw) {
    refuseRelatives(raw, EXPERT_FIELDS);
    const sizes = readSizes(raw, {
      layers: 24,
      kvHeads: 4,
      hiddenSize: 2048,
      mlpSize: 6144,
      vocabSize: 151936,
      trainedContext: 32768,
    });
    // One for all layers, or, switched off, whatever the file says of it.
    const window = flag(raw, "use_sliding_window", false)
      ? oneWindow(4096)(raw, sizes.layers)
      : noWindow({ ...raw, use_sliding_window: false }, sizes.layers);
    const activation = readActivation(raw, "silu");
    const norm = readRms(raw);
    return buildDecoder(sizes, {
      norm,
      bias: readBiases(raw, { attention: false }),
      activation,
      rotary: readRotary(raw, sizes),
      attention: (layer, name) => ({
        window: windowIn(window, layer),
        ...normedHeads(name, sizes, norm),
      }),
      mlp: readExperts(raw, sizes, activation, { counts: { experts: 128, chosen: 8 }, width: 768 }),
    });
  },
};

/** The experts of the layers that have some: each `decoder_sparse_step`-th one but those of `mlp_only_layers`. */
function readExperts(
  raw: RawConfig,
  { hiddenSize }: Sizes,
  activation: Activation,
  defaults: { readonly counts: ExpertCounts; readonly width: number },
): (layer: number, name: string) => Experts | undefined {
  const counts = readExpertCounts(raw, defaults.counts);
  const width = count(raw, "moe_intermediate_size", defaults.width);
  const step = count(raw, "decoder_sparse_step", 1);
  const dense = raw.mlp_only_layers ?? [];
  if (!Array.isArray(dense) || !dense.every(Number.isSafeInteger)) {
    throw bad("mlp_only_layers", `must be a list of layers, is ${show(dense)}`);
  }
  const normalized = flag(raw, "norm_topk_prob", false);
  return (layer, name) => {
    if (dense.includes(layer) || (layer + 1) % step !== 0) return undefined;
    const gate = { kind: "halves", activation } as const;
    const choices = { ...counts, layer, hiddenSize, width, normalized, gate };
    const router = routerPlace(choices, `${name}.mlp.gate`);
    const names = { gate: "gate_proj", up: "up_proj", down: "down_proj" };
    return separateExperts(choices, router, `${name}.mlp.experts`, names);
  };
}

function sharedExpert(
  { hiddenSize }: Sizes,
  activation: Activation,
  width: number,
  layer: number,
  name: string,
): NonNullable<Experts["shared"]> {
  const module = `${name}.shared_expert`;
  return {
    mlp: {
      kind: "mlp",
      in: {
        layer,
        modules: [`${module}.gate_proj`, `${module}.up_proj`],
        inFeatures: hiddenSize,
        outFeatures: [width, width],
        bias: false,
      },
      gated: true,
      activation,
      out: {
        layer,
        modules: [`${module}.down_proj`],
        inFeatures: width,
        outFeatures: [hiddenSize],
        bias: false,
      },
    },
    gate: {
      layer,
      modules: [`${name}.shared_expert_gate`],
      inFeatures: hiddenSize,
      outFeatures: [1],
      bias: false,
      exact: true,
    },
  };
}
