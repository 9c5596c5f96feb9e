/**
 * adapter_config.json of a LoRA adapter, as PEFT writes it: which modules, which rank, which scale.
 * Source: PEFT `src/peft/tuners/lora/config.py`; fields keep their spelling in messages.
 *
 * Whatever would change the adapter's function in a way that Tacet does not compute is refused, also when it
 * is a field that Tacet has never heard of. Which modules are adapted is not asked here: the tensors say that.
 */

import { type ErrorCode, TacetError } from "../base/errors.ts";
import { isRecord, type JsonRecord, quoteName } from "./json-file.ts";

const PATH = "adapter_config.json";

export interface LoraConfig {
  /** The rank that the configuration gives this module. */
  rankOf(module: string): number;
  /** alpha/rank, or alpha/√rank with `use_rslora`. */
  scaleOf(module: string): number;
  /** Of an activated LoRA: the token ids from which on it acts ({@link LoraAdapter.invocationTokens}). */
  readonly invocationTokens?: readonly number[];
}

/** Most ids of an invocation; PEFT has no limit, and nobody writes long ones. */
export const MAX_INVOCATION_TOKENS = 64;

/** Fields that say how the adapter was trained or is loaded, and nothing about its function once trained. */
const INERT_FIELDS: ReadonlySet<string> = new Set([
  "auto_mapping",
  "base_model_name_or_path",
  "corda_config",
  "ensure_weight_tying",
  "eva_config",
  "exclude_modules",
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

const HANDLED_FIELDS: ReadonlySet<string> = new Set([
  "alora_invocation_tokens",
  "alpha_pattern",
  "bias",
  // How the base weights lie; A and B lie one way only, and the model's family knows about its own.
  "fan_in_fan_out",
  "init_lora_weights",
  "lora_alpha",
  "peft_type",
  "r",
  "rank_pattern",
  "use_rslora",
]);

/** What is known to change the function, in words; any other unknown field that is switched on is named as it is. */
const UNSUPPORTED_FIELDS: Readonly<Record<string, string>> = {
  use_dora:
    "is a DoRA adapter (use_dora): it rescales whole weight rows, which needs the base model's weights",
  use_qalora: "is a QALoRA adapter (use_qalora), which pools its input",
  modules_to_save: "replaces whole modules (modules_to_save), not only low-rank differences",
  layer_replication: "repeats layers of the base model (layer_replication)",
  trainable_token_indices: "changes token embeddings (trainable_token_indices)",
  target_parameters: "adapts bare parameters (target_parameters), not modules",
  lora_bias: "has biases inside its low-rank part (lora_bias)",
  invocation_string:
    "is an activated LoRA of the time before PEFT (invocation_string), which says a text and not its tokens",
};

const WRITE_TOKENS =
  "write the token ids of that text into alora_invocation_tokens, as PEFT 0.18 and later have it, and take " +
  "invocation_string out";
const RETRAIN = "train or merge the adapter into a plain LoRA with bias none and no extra modules";

/** @throws TacetError bad_adapter for a field of the wrong type, unsupported_adapter for a function Tacet lacks */
export function readLoraConfig(config: JsonRecord): LoraConfig {
  if (config.peft_type === undefined && ("lora_parameters" in config || "fine_tune_type" in config)) {
    throw unsupported(
      "was trained with mlx-lm: its configuration has lora_parameters, and its tensors have MLX's layout",
      "fuse it into the base model with mlx_lm.fuse, or train a LoRA with PEFT",
    );
  }
  if (config.peft_type !== "LORA") {
    throw new TacetError(
      "unsupported_adapter",
      `the adapter's peft_type is ${quoteName(String(config.peft_type))}, not "LORA"`,
      {
        hint: "Tacet runs LoRA adapters in the PEFT layout",
      },
    );
  }
  refuseOtherFunctions(config);
  const rank = checkRank(config.r, "r");
  const alpha = checkAlpha(config.lora_alpha, "lora_alpha");
  const ranks = readPatterns(config.rank_pattern, "rank_pattern", checkRank);
  const alphas = readPatterns(config.alpha_pattern, "alpha_pattern", checkAlpha);
  const stabilized = readBoolean(config, "use_rslora");
  readBoolean(config, "fan_in_fan_out");
  const invocationTokens = readInvocation(config.alora_invocation_tokens);
  const rankOf = (module: string) => firstMatch(ranks, module) ?? rank;
  return {
    rankOf,
    scaleOf(module) {
      const r = rankOf(module);
      return (firstMatch(alphas, module) ?? alpha) / (stabilized ? Math.sqrt(r) : r);
    },
    ...(invocationTokens && { invocationTokens }),
  };
}

function refuseOtherFunctions(config: JsonRecord): void {
  if (config.bias !== undefined && config.bias !== "none") {
    throw unsupported("was trained with biases of the base model (bias is not none)", RETRAIN);
  }
  // These initializations subtract the adapter's start from the base weights: A and B belong to that base only.
  const init = config.init_lora_weights;
  if (typeof init === "string" && /^(pissa|olora|corda|loftq|lora_ga)/i.test(init)) {
    throw unsupported(
      `belongs to base weights that ${init.slice(0, 20)} changed (init_lora_weights)`,
      "convert it with PEFT's save_pretrained(..., path_initial_model_for_weight_conversion=...)",
    );
  }
  for (const [field, value] of Object.entries(config)) {
    if (INERT_FIELDS.has(field) || HANDLED_FIELDS.has(field) || field === "bias" || isOff(value)) continue;
    if (Object.hasOwn(UNSUPPORTED_FIELDS, field)) {
      throw unsupported(UNSUPPORTED_FIELDS[field], field === "invocation_string" ? WRITE_TOKENS : RETRAIN);
    }
    throw unsupported(
      `sets ${quoteName(field)}, which Tacet does not know`,
      `if that does not change what the adapter computes, take it out of ${PATH}`,
    );
  }
}

/** Whether a field has the value of an option that is not used. */
function isOff(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  if (isRecord(value)) return Object.keys(value).length === 0;
  return value === null || value === false || value === "";
}

function unsupported(what: string, hint: string): TacetError {
  return new TacetError("unsupported_adapter", `the adapter ${what}`, { hint });
}

function bad(what: string, code: ErrorCode = "bad_adapter"): TacetError {
  return new TacetError(code, `${PATH}: ${what}`, {
    hint: "the file is damaged or was edited: get the adapter again",
  });
}

function readBoolean(config: JsonRecord, field: string): boolean {
  const value = config[field] ?? false;
  if (typeof value !== "boolean") throw bad(`${field} is not true or false`);
  return value;
}

/** PEFT reads an empty list as an invocation that no prompt has: such an adapter never acts. */
function readInvocation(value: unknown): readonly number[] | undefined {
  if (value === undefined || value === null) return undefined;
  const isList = Array.isArray(value) && value.length > 0 && value.length <= MAX_INVOCATION_TOKENS;
  if (isList && value.every((id) => Number.isInteger(id) && id >= 0)) return value as number[];
  throw bad(`alora_invocation_tokens is not a list of 1 to ${MAX_INVOCATION_TOKENS} token ids`);
}

function checkRank(value: unknown, field: string): number {
  if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > 65_536) {
    throw bad(`${field} is not a rank (a positive integer)`);
  }
  return value as number;
}

function checkAlpha(value: unknown, field: string): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw bad(`${field} is not a number`);
  return value;
}

/** PEFT takes a key for a regular expression; of those, names are read, which mean themselves. */
const PLAIN_NAME = /^[\w-]+(?:\.[\w-]+)*$/;

/**
 * A value for each module whose path is the key, or ends in it from a dot on. The first that fits counts.
 * @throws TacetError unsupported_adapter for a key that is no plain name
 */
function readPatterns(
  value: unknown,
  field: string,
  check: (value: unknown, field: string) => number,
): [name: string, value: number][] {
  if (value === undefined || value === null) return [];
  if (!isRecord(value)) throw bad(`${field} is not an object`);
  return Object.entries(value).map(([key, entry]) => {
    if (!PLAIN_NAME.test(key)) {
      const what = `${PATH}: ${field} has the key ${quoteName(key)}, which is not the name of a module`;
      throw new TacetError("unsupported_adapter", what, {
        hint: "regular expressions are not read: write the names of the modules out",
      });
    }
    return [key, check(entry, `${field} ${quoteName(key)}`)];
  });
}

function firstMatch(patterns: readonly [string, number][], module: string): number | undefined {
  return patterns.find(([name]) => module === name || module.endsWith(`.${name}`))?.[1];
}
