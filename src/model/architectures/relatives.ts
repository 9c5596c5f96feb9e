/** Fields of config.json that change the result in one family, and must not be in the file of another. */

import { demand, type RawConfig } from "./config-fields.ts";

/** The values that mean "without it". */
const WITHOUT: Readonly<Record<string, readonly unknown[]>> = {
  quantization_config: [],
  attn_logit_softcapping: [],
  final_logit_softcapping: [],
  query_pre_attn_scalar: [],
  clip_qkv: [],
  embedding_multiplier: [1],
  residual_multiplier: [1],
  logits_scaling: [1],
  logit_scale: [1],
  attention_multiplier: [],
  rope_interleaved: [false],
  no_rope_layers: [],
  use_mrope: [false],
  num_experts: [],
  num_local_experts: [],
  add_cross_attention: [false],
  dual_chunk_attention_config: [],
  is_encoder_decoder: [false],
  use_bidirectional_attention: [false],
  alibi: [false],
  pruned_heads: [],
};

/**
 * @param reads those that the family reads itself
 * @throws TacetError unsupported_model for a field of a relative that is switched on
 */
export function refuseRelatives(raw: RawConfig, reads: readonly string[] = []): void {
  for (const [field, values] of Object.entries(WITHOUT)) {
    if (!reads.includes(field)) demand(raw, field, values);
  }
}
