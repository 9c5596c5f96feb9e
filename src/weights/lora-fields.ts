/** The fields of adapter_config.json, by what becomes of them; docs/models.md prints these tables. */

/** Fields that say how the adapter was trained or is loaded, and nothing about its function once trained. */
export const INERT_FIELDS: ReadonlySet<string> = new Set([
  "auto_mapping",
  "base_model_name_or_path",
  "corda_config",
  "eva_config",
  "exclude_modules",
  // How the base weights are stored; A and B are stored one way only, and the model's family knows about its own.
  "fan_in_fan_out",
  "inference_mode",
  "layers_pattern",
  "layers_to_transform",
  "loftq_config",
  "lora_dropout",
  // ms-swift's: how it trained.
  "lora_dtype",
  "lora_ga_config",
  "lorap_emb_lr",
  "lorap_lr_ratio",
  "megatron_config",
  "megatron_core",
  "parent_library",
  "peft_version",
  "qalora_group_size",
  "revision",
  "runtime_config",
  "target_modules",
  "task_type",
  "velora_config",
]);

export interface HandledField {
  /** What it does, in a few words. */
  readonly what: string;
  /** What a client must be shown of it, as `tacet bundle --publish` calls it. */
  readonly publishes?: readonly string[];
}

export const HANDLED_FIELDS: Readonly<Record<string, HandledField>> = {
  r: { what: "rank, held against the tensors" },
  lora_alpha: { what: "scale: alpha/r" },
  use_rslora: { what: "scale: alpha/√r" },
  rank_pattern: { what: "rank of single modules" },
  alpha_pattern: { what: "alpha of single modules" },
  use_dora: {
    what: "y = m/‖W + B·A‖ ⊙ (W·x + B·A·x), row scales computed when the bundle is made",
    publishes: ["dora-scales"],
  },
  lora_bias: { what: "B·A·x + b", publishes: ["bias"] },
  bias: { what: "`lora_only`, `all`: trained biases instead of the base's", publishes: ["bias"] },
  modules_to_save: {
    what: "whole modules instead of the base's",
    publishes: ["norm", "bias", "modules"],
  },
  trainable_token_indices: {
    what: "rows of single tokens in embedding and head instead of the base's",
    publishes: ["tokens"],
  },
  ensure_weight_tying: {
    what: "embedding and head that the base shares stay one",
    publishes: ["tied-head"],
  },
  target_parameters: { what: "a router's weight; `gate_up_proj` and `down_proj` of all experts of a layer" },
  alora_invocation_tokens: { what: "activated LoRA (below)" },
  init_lora_weights: { what: "ways to begin that leave the base as it is; others are refused" },
  peft_type: { what: '"LORA"' },
};

/** What is known to change the function, in words; any other unknown field that is switched on is named as it is. */
export const UNSUPPORTED_FIELDS: Readonly<Record<string, string>> = {
  use_qalora: "is a QALoRA adapter (use_qalora), which pools its input",
  use_bdlora: "is a BD-LoRA adapter (use_bdlora), whose matrices are block-diagonal",
  layer_replication: "repeats layers of the base model (layer_replication)",
  arrow_config: "routes between adapters (arrow_config)",
  kasa_config: "is a KaSA adapter (kasa_config), which rescales A and B by singular values",
  monteclora_config: "is a MonteCLoRA adapter (monteclora_config), which samples its weights",
  invocation_string:
    "is an activated LoRA of the time before PEFT (invocation_string), which says a text and not its tokens",
};
