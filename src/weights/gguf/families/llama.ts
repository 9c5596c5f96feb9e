/** Llama and what is built on it: Mistral, Mixtral, Ministral 3. */
import { expertCounts, hasBias, yarn } from "../family-fields.ts";
import { LLAMA_NAMES, llamaNames } from "../tensor-names.ts";
import { pairsBesideEachOther } from "../row-orders.ts";
import type { Family } from "./family.ts";

const llama: Family = {
  named: ["llama"],
  architecture: "LlamaForCausalLM",
  modelType: "llama",
  names: LLAMA_NAMES,
  rowOrder: pairsBesideEachOther,
  config: (m) => ({ attention_bias: hasBias(m, "attn_q"), mlp_bias: hasBias(m, "ffn_gate") }),
};

const mixtral: Family = {
  named: ["llama"],
  isIt: (m) => Boolean(m.value(".expert_count")),
  architecture: "MixtralForCausalLM",
  modelType: "mixtral",
  names: llamaNames(
    { ffn_gate_inp: "block_sparse_moe.gate" },
    { experts: { list: "block_sparse_moe.experts", gate: "w1", up: "w3", down: "w2" } },
  ),
  rowOrder: pairsBesideEachOther,
  config: (m) => ({ ...expertCounts(m), sliding_window: null }),
};

const ministral3: Family = {
  ...llama,
  named: ["mistral3"],
  isIt: (m) => m.has(".attention.temperature_scale"),
  architecture: "Ministral3ForCausalLM",
  modelType: "ministral3",
  config: () => ({ sliding_window: null }),
  rope(m) {
    const key = ".rope.scaling.yarn_log_multiplier";
    const multiplier = m.has(key) ? m.positive(key) : null;
    return {
      rope_theta: null,
      rope_parameters: {
        ...yarn(m),
        mscale: multiplier,
        mscale_all_dim: multiplier,
        llama_4_scaling_beta: m.positive(".attention.temperature_scale"),
      },
    };
  },
};

export const LLAMA_FAMILIES: readonly Family[] = [mixtral, llama, ministral3];
