/**
 * adapter_config.json of a LoRA adapter, as PEFT writes it: which modules, which rank, which scale.
 * Source: PEFT `src/peft/tuners/lora/config.py`; fields keep their spelling in messages.
 *
 * Whatever would change the adapter's function in a way that Tacet does not compute is refused, also when it
 * is a field that Tacet has never heard of. Which modules are adapted is not asked here: the tensors say that.
 */

import { type ErrorCode, TacetError } from "../base/errors.ts";
import { isRecord, type JsonRecord, quoteName } from "./json-file.ts";
import { HANDLED_FIELDS, INERT_FIELDS, UNSUPPORTED_FIELDS } from "./lora-fields.ts";
import { modulePattern } from "./module-pattern.ts";

const PATH = "adapter_config.json";

/** Which biases of the base model the adapter has trained: none, those of its modules, all of them. */
type Biases = "none" | "lora_only" | "all";

export interface LoraConfig {
  /** The rank that the configuration gives this module. */
  rankOf(module: string): number;
  /** alpha/rank, or alpha/√rank with `use_rslora`. */
  scaleOf(module: string): number;
  readonly biases: Biases;
  /** DoRA: rows of each adapted weight have a trained length. */
  readonly hasMagnitudes: boolean;
  /** B·A·x + b instead of B·A·x. */
  readonly hasLoraBias: boolean;
  /** Whether the adapter has this module whole, with all its tensors. */
  savesModule(module: string): boolean;
  /** Ids of the rows of this embedding, or head, that the adapter has trained. */
  tokensOf(module: string): readonly number[] | undefined;
  /** What is adapted at a module that holds bare parameters: their names there, innermost wrapper first. */
  parametersOf(module: string): readonly string[];
  /** A base model that shares its embeddings with its head shall go on to do so. */
  readonly keepsTie: boolean;
  /** Of an activated LoRA: the token ids from which on it acts ({@link LoraAdapter.invocationTokens}). */
  readonly invocationTokens?: readonly number[];
}

/** Most ids of an invocation; PEFT has no limit, and nobody writes long ones. */
export const MAX_INVOCATION_TOKENS = 64;

const WRITE_TOKENS =
  "write the token ids of that text into alora_invocation_tokens, as PEFT 0.18 and later have it, and take " +
  "invocation_string out";
const RETRAIN = "train it as a plain LoRA, or merge it into one";

/** Ways to begin that leave the base model's weights as they are. */
const HARMLESS_STARTS: readonly unknown[] = [true, false, "gaussian", "eva", "orthogonal", "mica"];
/** These subtract the adapter's start from the base weights: A and B belong to that base only. */
const CHANGING_STARTS = /^(pissa|olora|corda|loftq|lora_ga)/i;
/** Most rows of an embedding that an adapter trains one by one. */
const MAX_TOKENS = 1 << 20;

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
  const saved = readNames(config, "modules_to_save");
  const tokens = readTokens(config.trainable_token_indices);
  const parameters = readNames(config, "target_parameters");
  const invocationTokens = readInvocation(config.alora_invocation_tokens);
  const rankOf = (module: string) => firstMatch(ranks, module) ?? rank;
  return {
    rankOf,
    scaleOf(module) {
      const r = rankOf(module);
      return (firstMatch(alphas, module) ?? alpha) / (stabilized ? Math.sqrt(r) : r);
    },
    biases: readBiases(config),
    hasMagnitudes: readBoolean(config, "use_dora"),
    hasLoraBias: readBoolean(config, "lora_bias"),
    savesModule: (module) => saved.some((name) => isEndOf(name, module)),
    tokensOf: (module) => tokens.find(([name]) => name === "" || isEndOf(name, module))?.[1],
    // PEFT wraps a parameter after the other, in the order of their names' declaration: gate and up, then down.
    parametersOf: (module) =>
      parameters
        .filter((path) => isEndOf(path, `${module}.${lastPart(path)}`))
        .map(lastPart)
        .sort((a, b) => Number(a.startsWith("down")) - Number(b.startsWith("down"))),
    keepsTie: readBoolean(config, "ensure_weight_tying"),
    ...(invocationTokens && { invocationTokens }),
  };
}

const lastPart = (path: string): string => path.slice(path.lastIndexOf(".") + 1);
const isEndOf = (name: string, path: string): boolean => path === name || path.endsWith(`.${name}`);

function refuseOtherFunctions(config: JsonRecord): void {
  const init = config.init_lora_weights ?? true;
  if (typeof init === "string" && CHANGING_STARTS.test(init)) {
    throw unsupported(
      `belongs to base weights that ${init.slice(0, 20)} changed (init_lora_weights)`,
      "convert it with PEFT's save_pretrained(..., path_initial_model_for_weight_conversion=...)",
    );
  }
  if (!HARMLESS_STARTS.includes(init)) {
    throw unsupported(
      `was initialised by ${quoteName(String(init).slice(0, 40))} (init_lora_weights), which Tacet does not know`,
      `if that leaves the base model's weights as they are, write true there in ${PATH}`,
    );
  }
  for (const [field, value] of Object.entries(config)) {
    if (INERT_FIELDS.has(field) || Object.hasOwn(HANDLED_FIELDS, field) || isOff(value)) continue;
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

function readBiases({ bias = "none" }: JsonRecord): Biases {
  if (bias === "none" || bias === "lora_only" || bias === "all") return bias;
  throw bad('bias is not "none", "lora_only" or "all"');
}

function readNames(config: JsonRecord, field: string): readonly string[] {
  const names = config[field] ?? [];
  if (Array.isArray(names) && names.every((name) => typeof name === "string" && name !== "")) return names;
  throw bad(`${field} is not a list of names`);
}

/** By module, "": the input embeddings. */
function readTokens(value: unknown): [module: string, ids: readonly number[]][] {
  if (value === undefined || value === null) return [];
  const lists: [string, unknown][] = isRecord(value) ? Object.entries(value) : [["", value]];
  return lists.map(([module, ids]) => {
    const fits =
      Array.isArray(ids) &&
      ids.length <= MAX_TOKENS &&
      new Set(ids).size === ids.length &&
      ids.every((id) => Number.isInteger(id) && id >= 0);
    if (!fits) throw bad("trainable_token_indices is not a list of distinct token ids");
    return [module, ids];
  });
}

/** A value for each module that the key fits; the first that fits counts. */
interface Pattern {
  readonly fits: (module: string) => boolean;
  readonly value: number;
}

/** @throws TacetError unsupported_adapter for a key that `modulePattern` does not read */
function readPatterns(
  value: unknown,
  field: string,
  check: (value: unknown, field: string) => number,
): Pattern[] {
  if (value === undefined || value === null) return [];
  if (!isRecord(value)) throw bad(`${field} is not an object`);
  return Object.entries(value).map(([key, entry]) => {
    const fits = modulePattern(key);
    if (!fits) {
      const what = `${PATH}: ${field} has the key ${quoteName(key)}, whose regular expression is not read`;
      throw new TacetError("unsupported_adapter", what, {
        hint: "names are read, \\., \\d+, [0-9], (a|b) and up to two .*: write the names of the modules out",
      });
    }
    return { fits, value: check(entry, `${field} ${quoteName(key)}`) };
  });
}

function firstMatch(patterns: readonly Pattern[], module: string): number | undefined {
  return patterns.find(({ fits }) => fits(module))?.value;
}
