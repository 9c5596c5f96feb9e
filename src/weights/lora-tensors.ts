/**
 * What the tensors of adapter_model.safetensors are of, by their names as PEFT writes them: "base_model.model." + module +
 * what the tensor is. A state dict that was saved without PEFT's help has the adapter's name in it as well
 * (".lora_A.default.weight").
 *
 * Source: PEFT `src/peft/utils/save_and_load.py`, `tuners/lora/layer.py`, `utils/other.py`.
 */
import { TacetError } from "../base/errors.ts";
import { quoteName } from "./json-file.ts";
import type { TensorInfo } from "./safetensors.ts";
import { textModuleName } from "./text-module-name.ts";

/** Roles of tensors at one module. A: lora_A, or lora_embedding_A. */
export type Role = "A" | "B" | "embeddingA" | "embeddingB" | "loraBias" | "magnitude" | "tokens";

export interface SortedTensors {
  /** By module, then by role. */
  readonly modules: ReadonlyMap<string, ReadonlyMap<Role, TensorInfo>>;
  /** By the base's name: saved as a whole, or as the base has it, which the configuration says. */
  readonly whole: ReadonlyMap<string, TensorInfo>;
  /** By the base's name: what is under an adapted module, as the base had it. */
  readonly under: ReadonlyMap<string, TensorInfo>;
}

const PREFIX = "base_model.model.";
const MAX_NAME = 512;
const NAME = "(?:\\.([^.]+))?";
const ROLES: readonly (readonly [Role, RegExp])[] = [
  ["A", new RegExp(`^(.+)\\.lora_A${NAME}\\.weight$`)],
  ["B", new RegExp(`^(.+)\\.lora_B${NAME}\\.weight$`)],
  ["loraBias", new RegExp(`^(.+)\\.lora_B${NAME}\\.bias$`)],
  ["embeddingA", new RegExp(`^(.+)\\.lora_embedding_A${NAME}$`)],
  ["embeddingB", new RegExp(`^(.+)\\.lora_embedding_B${NAME}$`)],
  ["magnitude", /^(.+)\.lora_magnitude_vector(?:\.(?!weight$)([^.]+))?(?:\.weight)?$/],
  ["tokens", new RegExp(`^(.+)\\.token_adapter\\.trainable_tokens_delta${NAME}$`)],
];
const SAVED = /^(.+)\.modules_to_save(?:\.([^.]+))?\.(weight|bias)$/;
const UNDER = /^(.+?)(?:\.token_adapter)?\.(?:base_layer|original_module)\.(weight|bias)$/;
const WHOLE = /^(.+)\.(weight|bias)$/;
/** Parts of names that only a tensor of an adapter has. */
const ADAPTER_PARTS = /\.(?:lora_|token_adapter|modules_to_save|base_layer|original_module|prompt_)/;

/** @throws TacetError unsupported_adapter for a tensor of another kind, or of several adapters */
export function sortTensors(path: string, tensors: Iterable<TensorInfo>): SortedTensors {
  const modules = new Map<string, Map<Role, TensorInfo>>();
  const whole = new Map<string, TensorInfo>();
  const under = new Map<string, TensorInfo>();
  const adapters = new Set<string>();
  for (const info of tensors) {
    const strange = (): TacetError =>
      new TacetError(
        "unsupported_adapter",
        `${path}: tensor ${quoteName(info.name)} is none that PEFT's LoRA has`,
        {
          hint: "Tacet reads what PEFT's save_pretrained writes: save the adapter again with it",
        },
      );
    const name = info.name.startsWith(PREFIX) ? textModuleName(info.name.slice(PREFIX.length)) : "";
    const role = ROLES.map(([role, pattern]) => [role, pattern.exec(name)] as const).find(
      ([, found]) => found,
    );
    if (role) {
      const [, module, adapter = ""] = role[1] as RegExpExecArray;
      if (module.length > MAX_NAME) throw strange();
      if (adapters.add(adapter).size > 1) throw severalAdapters(path, adapters);
      const roles = modules.get(module) ?? new Map<Role, TensorInfo>();
      modules.set(module, roles.set(role[0], info));
      continue;
    }
    const saved = SAVED.exec(name);
    const below = saved ? null : UNDER.exec(name);
    if (below) {
      under.set(`${below[1]}.${below[2]}`, info);
      continue;
    }
    const rest = saved ? [saved[0], saved[1], saved[3]] : WHOLE.exec(name);
    if (!rest || rest[1].length > MAX_NAME || ADAPTER_PARTS.test(rest[1])) throw strange();
    if (saved?.[2] !== undefined && adapters.add(saved[2]).size > 1) throw severalAdapters(path, adapters);
    whole.set(`${rest[1]}.${rest[2]}`, info);
  }
  return { modules, whole, under };
}

function severalAdapters(path: string, names: ReadonlySet<string>): TacetError {
  const list = [...names].map((name) => (name === "" ? "one without a name" : quoteName(name))).join(", ");
  return new TacetError("unsupported_adapter", `${path} holds more than one adapter: ${list}`, {
    hint: "save each adapter into a separate folder",
  });
}
