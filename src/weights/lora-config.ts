/**
 * adapter_config.json of a LoRA adapter, as PEFT writes it: which modules, which rank, which scale.
 * Source: PEFT `src/peft/tuners/lora/config.py`; fields keep their spelling in messages.
 *
 * Whatever would change the adapter's function in a way that Tacet does not compute is refused, also when it
 * is a field that Tacet has never heard of.
 */

import { type ErrorCode, TacetError } from "../base/errors.ts";
import { expressionCost } from "./expression-cost.ts";
import { isRecord, type JsonRecord, quoteName } from "./json-file.ts";

const PATH = "adapter_config.json";

export interface LoraConfig {
  /** Whether the configuration adapts the module of this path: `target_modules` and what narrows it. */
  targets(module: string): boolean;
  /** The rank that the configuration gives this module. */
  rankOf(module: string): number;
  /** alpha/rank, or alpha/√rank with `use_rslora`. */
  scaleOf(module: string): number;
}

/** Fields that say how the adapter was trained or is loaded, and nothing about its function once trained. */
const INERT_FIELDS: ReadonlySet<string> = new Set([
  "auto_mapping",
  "base_model_name_or_path",
  "corda_config",
  "ensure_weight_tying",
  "eva_config",
  "inference_mode",
  "loftq_config",
  "lora_dropout",
  "lora_ga_config",
  "megatron_config",
  "megatron_core",
  "parent_library",
  "peft_version",
  "qalora_group_size",
  "revision",
  "runtime_config",
  "task_type",
]);

const HANDLED_FIELDS: ReadonlySet<string> = new Set([
  "alpha_pattern",
  "bias",
  "exclude_modules",
  // How the base weights lie; A and B lie one way only, and the model's family knows about its own.
  "fan_in_fan_out",
  "init_lora_weights",
  "layers_pattern",
  "layers_to_transform",
  "lora_alpha",
  "peft_type",
  "r",
  "rank_pattern",
  "target_modules",
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
  alora_invocation_tokens:
    "is an activated LoRA (alora_invocation_tokens): it is on for part of the text only",
};

const RETRAIN = "train or merge the adapter into a plain LoRA with bias none and no extra modules";

/** @throws TacetError bad_adapter for a field of the wrong type, unsupported_adapter for a function Tacet lacks */
export function readLoraConfig(config: JsonRecord): LoraConfig {
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
  const rankOf = (module: string) => firstMatch(ranks, module) ?? rank;
  return {
    targets: readTargets(config),
    rankOf,
    scaleOf(module) {
      const r = rankOf(module);
      return (firstMatch(alphas, module) ?? alpha) / (stabilized ? Math.sqrt(r) : r);
    },
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
    if (Object.hasOwn(UNSUPPORTED_FIELDS, field)) throw unsupported(UNSUPPORTED_FIELDS[field], RETRAIN);
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

interface Pattern {
  readonly matches: (module: string) => boolean;
  readonly value: number;
}

/** A key is a regular expression that must match the end of a module's path from a dot (or the start) on. */
function readPatterns(
  value: unknown,
  field: string,
  check: (value: unknown, field: string) => number,
): Pattern[] {
  if (value === undefined || value === null) return [];
  if (!isRecord(value)) throw bad(`${field} is not an object`);
  return Object.entries(value).map(([key, entry]) => ({
    matches: compile(`(?:.*\\.)?(?:${checkedSource(key, field)})`, field),
    value: check(entry, `${field} ${quoteName(key)}`),
  }));
}

function firstMatch(patterns: readonly Pattern[], module: string): number | undefined {
  return patterns.find(({ matches }) => matches(module))?.value;
}

/** As PEFT decides it (`check_target_module_exists` in `tuners/tuners_utils.py`). */
function readTargets(config: JsonRecord): (module: string) => boolean {
  // Left out, PEFT takes its default for the architecture; the tensors then say which that was.
  const targets = config.target_modules === "all-linear" ? null : config.target_modules;
  const named = readNames(targets, "target_modules") ?? (() => true);
  const excluded = isOff(config.exclude_modules)
    ? undefined
    : readNames(config.exclude_modules, "exclude_modules");
  const inLayers = Array.isArray(targets) ? readLayers(config) : () => true;
  return (module) => named(module) && !excluded?.(module) && inLayers(module);
}

/** A list names modules by their path or the end of it from a dot on; a text is a regular expression for the whole path. */
function readNames(value: unknown, field: string): ((module: string) => boolean) | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string") return compile(checkedSource(value, field), field);
  if (!Array.isArray(value) || !value.every((entry) => typeof entry === "string")) {
    throw bad(`${field} is neither a list of names nor a regular expression`);
  }
  return (module) => value.some((entry: string) => module === entry || module.endsWith(`.${entry}`));
}

/** Which layers `layers_to_transform` keeps; a layer's number follows a name that `layers_pattern` may give. */
function readLayers({
  layers_to_transform: layers,
  layers_pattern: pattern,
}: JsonRecord): (module: string) => boolean {
  if (layers === undefined || isOff(layers)) return () => true;
  const kept = Array.isArray(layers) ? layers : [layers];
  if (!kept.every((layer) => Number.isInteger(layer) && layer >= 0)) {
    throw bad("layers_to_transform is neither a layer's number nor a list of them");
  }
  const names =
    pattern === undefined || isOff(pattern) ? ["[^.]*"] : Array.isArray(pattern) ? pattern : [pattern];
  if (!names.every((name) => typeof name === "string"))
    throw bad("layers_pattern is not a name or a list of names");
  const numbers = names.map((name) =>
    parse(`^.*\\.(?:${checkedSource(name, "layers_pattern")})\\.(\\d+)\\.`, "layers_pattern"),
  );
  return (module) => {
    // Two more quantifiers than the file's own: ".*" before it, and the number.
    if (names.some((name) => expressionCost(`.*(?:${name})\\d+`, module.length) > MOST_TRIES))
      throw tooIntricate("layers_pattern");
    const found = numbers.map((number) => number.exec(module)).find((match) => match !== null);
    return found !== undefined && kept.includes(Number(found.at(-1)));
  };
}

const SIMPLIFY = `write the module names out in ${PATH}`;

/** Ways to match one name that an expression may have: some seconds at worst. What trainers write has fewer. */
const MOST_TRIES = 1e9;

/**
 * An expression of a file, if it is safe to try on names of a file: short, and no repeated group, which is what
 * makes matching exponential in the length of the name.
 */
function checkedSource(source: string, field: string): string {
  if (source.length > 2000 || /\)[*+{]/.test(source)) throw tooIntricate(field);
  parse(source, field); // by itself: inside a group, an unbalanced bracket could close ours
  return source;
}

function tooIntricate(field: string): TacetError {
  const what = `${PATH}: the regular expression in ${field} is too intricate`;
  return new TacetError("unsupported_adapter", what, { hint: SIMPLIFY });
}

/** @throws TacetError unsupported_adapter, also when a name is tried that is too long for the expression */
function compile(source: string, field: string): (module: string) => boolean {
  const expression = parse(`^(?:${source})$`, field);
  return (module) => {
    if (expressionCost(source, module.length) > MOST_TRIES) throw tooIntricate(field);
    return expression.test(module);
  };
}

/** The u flag refuses what Python and JavaScript read differently, as \A and \Z. */
function parse(source: string, field: string): RegExp {
  try {
    return new RegExp(source, "u");
  } catch {
    throw new TacetError(
      "unsupported_adapter",
      `${PATH}: the regular expression in ${field} cannot be read`,
      { hint: SIMPLIFY },
    );
  }
}
