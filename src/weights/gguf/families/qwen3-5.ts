/** Qwen3.5: gated delta nets, and attention in every fourth layer. */
import { normsLessOne } from "../family-fields.ts";
import type { Metadata } from "../metadata.ts";
import type { Order } from "../row-orders.ts";
import { HEAD_NORM_TENSORS, llamaNames } from "../tensor-names.ts";
import type { Family } from "./family.ts";

/** Of a delta net. */
interface Heads {
  readonly keys: number;
  readonly values: number;
  readonly keyDim: number;
  readonly valueDim: number;
}

function headsOf(m: Metadata): Heads {
  const [keys, values] = [m.count(".ssm.group_count"), m.count(".ssm.time_step_rank")];
  const inner = m.count(".ssm.inner_size");
  if (values % keys !== 0) throw m.bad(".ssm.time_step_rank", `, ${values}, is not a multiple of ${keys}`);
  if (inner % values !== 0) throw m.bad(".ssm.inner_size", `, ${inner}, is not a multiple of ${values}`);
  return { keys, values, keyDim: m.count(".ssm.state_size"), valueDim: inner / values };
}

/**
 * transformers has the value heads of the first key head, then those of the next; llama.cpp the first value head of each
 * key head, then the second ones.
 *
 * @param first entries that stand before those of the value heads, which are `size` for each
 * @returns undefined where each key head has one: then both have the same order
 */
function valueHeads({ keys, values }: Heads, size: number, first = 0): Order | undefined {
  const each = values / keys;
  if (each === 1) return undefined;
  return {
    count: first + values * size,
    what: `${values} value heads of ${size}${first === 0 ? "" : ` behind ${first}`}`,
    from(entry) {
      if (entry < first) return entry;
      const head = Math.floor((entry - first) / size);
      const target = (head % each) * keys + Math.floor(head / each);
      return first + target * size + ((entry - first) % size);
    },
  };
}

const qwen35: Family = {
  named: ["qwen35"],
  architecture: "Qwen3_5ForCausalLM",
  modelType: "qwen3_5_text",
  names: llamaNames({
    ...HEAD_NORM_TENSORS,
    ffn_norm: undefined,
    post_attention_norm: "post_attention_layernorm",
    attn_qkv: "linear_attn.in_proj_qkv",
    attn_gate: "linear_attn.in_proj_z",
    ssm_beta: "linear_attn.in_proj_b",
    ssm_alpha: "linear_attn.in_proj_a",
    ssm_conv1d: "linear_attn.conv1d",
    ssm_dt: "linear_attn.dt_bias",
    ssm_a: "linear_attn.A_log",
    ssm_norm: "linear_attn.norm",
    ssm_out: "linear_attn.out_proj",
  }),
  undo(stem, last) {
    if (stem === "ssm_a") return (a) => Math.log(-a);
    return stem === "ssm_norm" ? undefined : normsLessOne(stem, last);
  },
  rowOrder(m, stem) {
    const heads = headsOf(m);
    if (stem === "attn_qkv" || stem === "ssm_conv1d")
      return valueHeads(heads, heads.valueDim, 2 * heads.keys * heads.keyDim);
    if (stem === "attn_gate") return valueHeads(heads, heads.valueDim);
    return ["ssm_beta", "ssm_alpha", "ssm_dt", "ssm_a"].includes(stem) ? valueHeads(heads, 1) : undefined;
  },
  columnOrder(m, stem) {
    const heads = headsOf(m);
    return stem === "ssm_out" ? valueHeads(heads, heads.valueDim) : undefined;
  },
  partialRotary: true,
  // Behind the model's own layers the file may have one that guesses the token after the next.
  extraLayers: (m) => (m.value(".nextn_predict_layers") ? m.count(".nextn_predict_layers") : 0),
  config(m) {
    const { keys, values, keyDim, valueDim } = headsOf(m);
    return {
      full_attention_interval: m.count(".full_attention_interval", 4),
      linear_num_key_heads: keys,
      linear_num_value_heads: values,
      linear_key_head_dim: keyDim,
      linear_value_head_dim: valueDim,
      linear_conv_kernel_dim: m.count(".ssm.conv_kernel"),
    };
  },
};

export const QWEN35_FAMILIES: readonly Family[] = [qwen35];
