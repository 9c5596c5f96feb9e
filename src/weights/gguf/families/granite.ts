/** Granite 3. */
import { attentionBias, expertCounts, hasBias, multipliers } from "../family-fields.ts";
import { LLAMA_NAMES, llamaNames } from "../tensor-names.ts";
import { pairsBesideEachOther } from "../row-orders.ts";
import type { Family } from "./family.ts";

const granite: Family = {
  named: ["granite"],
  architecture: "GraniteForCausalLM",
  modelType: "granite",
  names: LLAMA_NAMES,
  rowOrder: pairsBesideEachOther,
  config: (m) => ({ ...attentionBias(m), mlp_bias: hasBias(m, "ffn_gate"), ...multipliers(m) }),
};

const graniteMoe: Family = {
  named: ["granitemoe"],
  architecture: "GraniteMoeForCausalLM",
  modelType: "granitemoe",
  names: llamaNames(
    { ffn_gate_inp: "block_sparse_moe.router.layer" },
    { experts: { gateUp: "block_sparse_moe.input_linear", down: "block_sparse_moe.output_linear" } },
  ),
  rowOrder: pairsBesideEachOther,
  config: (m) => ({ ...attentionBias(m), ...expertCounts(m), ...multipliers(m) }),
};

export const GRANITE_FAMILIES: readonly Family[] = [granite, graniteMoe];
