/** What llama.cpp calls the tensors that transformers calls otherwise. */

/** Inside a layer: "blk.3.attn_q.weight" is "model.layers.3.self_attn.q_proj.weight" in a Llama. */
export type LayerStem =
  | "attn_norm"
  | "attn_q"
  | "attn_k"
  | "attn_v"
  | "attn_qkv"
  | "attn_output"
  | "attn_q_norm"
  | "attn_k_norm"
  | "attn_sinks"
  | "attn_gate"
  | "attn_norm_2"
  | "ssm_beta"
  | "ssm_alpha"
  | "ssm_conv1d"
  | "ssm_dt"
  | "ssm_a"
  | "ssm_norm"
  | "ssm_out"
  | "post_attention_norm"
  | "ffn_norm"
  | "ffn_gate"
  | "ffn_up"
  | "ffn_down"
  | "post_ffw_norm"
  | "ffn_gate_inp"
  | "ffn_gate_inp_shexp"
  | "ffn_gate_shexp"
  | "ffn_up_shexp"
  | "ffn_down_shexp"
  | "inp_gate"
  | "proj"
  | "post_norm"
  | "layer_output_scale";

export type GlobalStem =
  | "token_embd"
  | "output_norm"
  | "output"
  | "position_embd"
  | "token_embd_norm"
  | "per_layer_token_embd"
  | "per_layer_model_proj"
  | "per_layer_proj_norm";

/** Tensors whose name in transformers ends neither in ".weight" nor in ".bias". */
export const BARE: ReadonlySet<string> = new Set([
  "layer_scalar",
  "self_attn.sinks",
  "linear_attn.A_log",
  "linear_attn.dt_bias",
]);

/** Each expert has tensors by itself. */
export interface ListedExperts {
  readonly list: string;
  readonly gate: string;
  readonly up: string;
  readonly down: string;
}

/** Those of a layer are one tensor, gate and up in one too. */
export interface JoinedExperts {
  readonly gateUp: string;
  readonly down: string;
  /** Names do not end in ".weight". */
  readonly isBare?: true;
  /** (experts, in, out) */
  readonly storedInOut?: true;
  /** Rows of gate and up in turns; else all of gate, then all of up. */
  readonly inTurns?: true;
  /** Whole names. */
  readonly biases?: { readonly gateUp: string; readonly down: string };
}

export interface TensorNames {
  readonly global: Readonly<Partial<Record<GlobalStem, string>>>;
  /** What the layers' numbers stand behind. */
  readonly layers: string;
  /** undefined: the family has none. */
  readonly layer: Readonly<Partial<Record<LayerStem, string | undefined>>>;
  /** "blk.3.ffn_gate_exps.weight" has those of all, (experts, …). */
  readonly experts?: ListedExperts | JoinedExperts;
}

/** Llama's, and of most families since. */
export const LLAMA_NAMES: TensorNames = {
  global: { token_embd: "model.embed_tokens", output_norm: "model.norm", output: "lm_head" },
  layers: "model.layers",
  layer: {
    attn_norm: "input_layernorm",
    attn_q: "self_attn.q_proj",
    attn_k: "self_attn.k_proj",
    attn_v: "self_attn.v_proj",
    attn_output: "self_attn.o_proj",
    ffn_norm: "post_attention_layernorm",
    ffn_gate: "mlp.gate_proj",
    ffn_up: "mlp.up_proj",
    ffn_down: "mlp.down_proj",
  },
};

/** Norms behind attention and MLP besides those before: Gemma's. */
export const FOUR_NORM_TENSORS = {
  post_attention_norm: "post_attention_layernorm",
  ffn_norm: "pre_feedforward_layernorm",
  post_ffw_norm: "post_feedforward_layernorm",
} as const;

export const HEAD_NORM_TENSORS = {
  attn_q_norm: "self_attn.q_norm",
  attn_k_norm: "self_attn.k_norm",
} as const;

/** Norms behind attention and MLP alone, and of the heads of q and k. */
export const NORM_BEHIND_TENSORS = {
  ...HEAD_NORM_TENSORS,
  attn_norm: undefined,
  ffn_norm: undefined,
  post_attention_norm: "post_attention_layernorm",
  post_ffw_norm: "post_feedforward_layernorm",
} as const;

/** Experts in a list, as Qwen has them. */
export const LISTED_EXPERTS: Partial<TensorNames> = {
  experts: { list: "mlp.experts", gate: "gate_proj", up: "up_proj", down: "down_proj" },
};

export function llamaNames(layer: TensorNames["layer"] = {}, more: Partial<TensorNames> = {}): TensorNames {
  return { ...LLAMA_NAMES, ...more, layer: { ...LLAMA_NAMES.layer, ...layer } };
}

/** undefined: the family has no such tensor. */
export function findName(
  names: TensorNames,
  tensor: string,
): { readonly name: string; readonly stem: string; readonly last: string } | undefined {
  const [, blockPart, number, stem, last = "weight"] =
    /^(blk\.(\d+)\.)?([a-z0-9_]+)(?:\.(weight|bias))?$/.exec(tensor) ?? [];
  if (stem === undefined) return undefined;
  const own: Readonly<Record<string, string | undefined>> =
    blockPart === undefined ? names.global : names.layer;
  const found = Object.hasOwn(own, stem) ? own[stem] : undefined;
  if (found === undefined) return undefined;
  const whole = blockPart === undefined ? found : `${names.layers}.${number}.${found}`;
  return { name: BARE.has(found) ? whole : `${whole}.${last}`, stem, last };
}
