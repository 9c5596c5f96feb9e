/** Phi 1 to 4. */
import { LLAMA_NAMES, llamaNames } from "../tensor-names.ts";
import type { Family } from "./family.ts";

const phi2: Family = {
  named: ["phi2"],
  architecture: "PhiForCausalLM",
  modelType: "phi",
  names: llamaNames(
    { attn_output: "self_attn.dense", ffn_up: "mlp.fc1", ffn_down: "mlp.fc2" },
    { global: { ...LLAMA_NAMES.global, output_norm: "model.final_layernorm" } },
  ),
  epsilon: "layer_norm_eps",
  partialRotary: true,
};

const phi3: Family = {
  named: ["phi3"],
  architecture: "Phi3ForCausalLM",
  modelType: "phi3",
  names: llamaNames({ attn_qkv: "self_attn.qkv_proj", ffn_up: "mlp.gate_up_proj" }),
  partialRotary: true,
  config: (m) => ({
    sliding_window: m.value(".attention.sliding_window") ? m.count(".attention.sliding_window") : null,
    original_max_position_embeddings: m.count(
      ".rope.scaling.original_context_length",
      m.count(".context_length"),
    ),
  }),
};

export const PHI_FAMILIES: readonly Family[] = [phi2, phi3];
