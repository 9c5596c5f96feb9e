/** Qwen 2 and 3, dense and with experts. */
import { attentionBias, expertCounts, hasBias } from "../family-fields.ts";
import { HEAD_NORM_TENSORS, LISTED_EXPERTS, LLAMA_NAMES, llamaNames } from "../tensor-names.ts";
import type { Family } from "./family.ts";

/** Of a model that also sees, the file has the language model; the rest is in a separate one. */
const qwen2: Family = {
  named: ["qwen2", "qwen2vl"],
  architecture: "Qwen2ForCausalLM",
  modelType: "qwen2",
  names: LLAMA_NAMES,
};

const qwen2Moe: Family = {
  named: ["qwen2moe"],
  architecture: "Qwen2MoeForCausalLM",
  modelType: "qwen2_moe",
  names: llamaNames(
    {
      ffn_gate_inp: "mlp.gate",
      ffn_gate_inp_shexp: "mlp.shared_expert_gate",
      ffn_gate_shexp: "mlp.shared_expert.gate_proj",
      ffn_up_shexp: "mlp.shared_expert.up_proj",
      ffn_down_shexp: "mlp.shared_expert.down_proj",
    },
    LISTED_EXPERTS,
  ),
  config: (m) => ({
    ...expertCounts(m),
    qkv_bias: hasBias(m, "attn_q"),
    moe_intermediate_size: m.count(".expert_feed_forward_length"),
    shared_expert_intermediate_size: m.count(".expert_shared_feed_forward_length"),
    norm_topk_prob: m.flag(".expert_weights_norm", false),
  }),
};

const qwen3: Family = {
  named: ["qwen3", "qwen3vl"],
  architecture: "Qwen3ForCausalLM",
  modelType: "qwen3",
  names: llamaNames(HEAD_NORM_TENSORS),
  config: attentionBias,
};

const qwen3Moe: Family = {
  named: ["qwen3moe"],
  architecture: "Qwen3MoeForCausalLM",
  modelType: "qwen3_moe",
  names: llamaNames({ ...HEAD_NORM_TENSORS, ffn_gate_inp: "mlp.gate" }, LISTED_EXPERTS),
  config: (m) => ({
    ...attentionBias(m),
    ...expertCounts(m),
    moe_intermediate_size: m.count(".expert_feed_forward_length"),
    norm_topk_prob: m.flag(".expert_weights_norm", true),
  }),
};

export const QWEN_FAMILIES: readonly Family[] = [qwen2, qwen2Moe, qwen3, qwen3Moe];
