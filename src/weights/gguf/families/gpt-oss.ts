/** gpt-oss. */
import { attentionBias, expertCounts, window, yarn } from "../family-fields.ts";
import { llamaNames } from "../tensor-names.ts";
import type { Family } from "./family.ts";

const gptOss: Family = {
  named: ["gpt-oss"],
  architecture: "GptOssForCausalLM",
  modelType: "gpt_oss",
  names: llamaNames(
    {
      attn_sinks: "self_attn.sinks",
      ffn_norm: undefined,
      post_attention_norm: "post_attention_layernorm",
      ffn_gate_inp: "mlp.router",
    },
    {
      experts: {
        gateUp: "mlp.experts.gate_up_proj",
        down: "mlp.experts.down_proj",
        isBare: true,
        storedInOut: true,
        inTurns: true,
        biases: { gateUp: "mlp.experts.gate_up_proj_bias", down: "mlp.experts.down_proj_bias" },
      },
    },
  ),
  config: (m) => ({ ...attentionBias(m), ...expertCounts(m), ...window(m, 2) }),
  // The format has no key for "truncate"; the original has it false.
  rope: (m) => ({ rope_theta: null, rope_parameters: { ...yarn(m), truncate: false } }),
};

export const GPT_OSS_FAMILIES: readonly Family[] = [gptOss];
