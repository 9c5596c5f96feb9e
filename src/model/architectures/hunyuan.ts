/** Hunyuan, the dense ones: a Llama whose heads of q and k are normed behind the rotation. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { normedHeads, readActivation, readBiases, readRms } from "./common-fields.ts";
import { demand, positive, present, type RawConfig } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";
import { noWindow } from "./sliding-window.ts";

export const hunyuanDense: Architecture = {
  name: "HunYuanDenseV1ForCausalLM",
  modelType: "hunyuan_v1_dense",
  released: "Hunyuan, the dense ones",
  describe(raw) {
    refuseRelatives(raw, ["num_experts"]);
    // Released files have the fields of their relative with experts, switched off.
    demand(raw, "num_experts", [1]);
    demand(raw, "use_cla", [false]);
    demand(raw, "use_mixed_mlp_moe", [false]);
    const sizes = readSizes(raw, {
      hiddenSize: 4096,
      mlpSize: 11008,
      vocabSize: 290943,
      trainedContext: 2048,
    });
    noWindow(raw, sizes.layers);
    const norm = readRms(raw, 1e-5);
    const names = { q: "self_attn.query_layernorm", k: "self_attn.key_layernorm", when: "behind" } as const;
    return buildDecoder(sizes, {
      norm,
      bias: readBiases(raw, { attention: false }),
      activation: readActivation(raw, "silu"),
      rotary: readRotary(withStretchedTheta(raw, sizes.headDim), sizes),
      attention: (_, name) => normedHeads(name, sizes, norm, names),
    });
  },
};

/** "dynamic" with an alpha is no such thing here: theta is theta·alpha^(d/(d - 2)), once for all. */
function withStretchedTheta(raw: RawConfig, headDim: number): RawConfig {
  for (const field of ["rope_parameters", "rope_scaling"]) {
    const record = raw[field];
    if (typeof record !== "object" || record === null) continue;
    const { alpha, type, rope_type = type, rope_theta = raw.rope_theta } = record as RawConfig;
    if (rope_type !== "dynamic" || !present(alpha)) continue;
    const { rope_parameters, rope_scaling, ...rest } = raw;
    const theta = positive({ rope_theta }, "rope_theta", 10000);
    const factor = positive({ alpha }, "alpha", undefined, field);
    return { ...rest, rope_theta: theta * factor ** (headDim / (headDim - 2)) };
  }
  return raw;
}
