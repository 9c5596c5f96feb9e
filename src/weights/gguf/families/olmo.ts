/** OLMo 2 and 3, and OLMoE. */
import { attentionBias, expertCounts, window } from "../family-fields.ts";
import { HEAD_NORM_TENSORS, LISTED_EXPERTS, llamaNames, NORM_BEHIND_TENSORS } from "../tensor-names.ts";
import type { Family } from "./family.ts";

const olmo2: Family = {
  named: ["olmo2"],
  architecture: "Olmo2ForCausalLM",
  modelType: "olmo2",
  names: llamaNames(NORM_BEHIND_TENSORS),
  config: attentionBias,
};

const olmo3: Family = {
  ...olmo2,
  named: ["olmo2"],
  isIt: (m) => Boolean(m.value(".attention.sliding_window")),
  architecture: "Olmo3ForCausalLM",
  modelType: "olmo3",
  config: (m) => ({ ...attentionBias(m), ...window(m, 4) }),
};

const olmoe: Family = {
  named: ["olmoe"],
  architecture: "OlmoeForCausalLM",
  modelType: "olmoe",
  names: llamaNames({ ...HEAD_NORM_TENSORS, ffn_gate_inp: "mlp.gate" }, LISTED_EXPERTS),
  config: (m) => ({
    ...attentionBias(m),
    ...expertCounts(m),
    norm_topk_prob: m.flag(".expert_weights_norm", false),
  }),
};

export const OLMO_FAMILIES: readonly Family[] = [olmo3, olmo2, olmoe];
