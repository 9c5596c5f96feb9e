/**
 * Which files of a repository or folder are read: one list for what is downloaded, what the cache must have, and what
 * `tacet web` hands to the browser. A file that is read somewhere stands here.
 */

export type FolderKind = "base" | "adapter";

interface FolderFiles {
  /** Without it there is nothing. */
  readonly config: string;
  readonly weights: string;
  /** Says which files have the weights, where they are several. */
  readonly index?: string;
  /** Where they are there. */
  readonly others: readonly string[];
}

/** A base model that is to take text has one of them. */
export const TOKENIZERS: readonly string[] = ["tokenizer.json", "tokenizer.model"];
const TEXT_FILES: readonly string[] = [
  "generation_config.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "chat_template.jinja",
  "chat_template.json",
  "additional_chat_templates/default.jinja",
];

export const MODEL_FILES = {
  base: {
    config: "config.json",
    weights: "model.safetensors",
    index: "model.safetensors.index.json",
    // ChatGLM's tokenizer source is read as text, to tell its versions apart (text/chatglm-text.ts).
    others: [...TEXT_FILES, ...TOKENIZERS, "tokenization_chatglm.py"],
  },
  adapter: {
    config: "adapter_config.json",
    weights: "adapter_model.safetensors",
    others: [...TEXT_FILES, "tokenizer.json"],
  },
} as const satisfies Readonly<Record<FolderKind, FolderFiles>>;

/** A plain file name: an index may not reach into other folders. */
export function isShardName(name: unknown): name is string {
  return typeof name === "string" && name.length <= 255 && /^(?!\.)[\w.\-+=@ ]+\.safetensors$/.test(name);
}

/** Whether a path is meant as that of a GGUF file. */
export function isGgufName(path: string): boolean {
  return /\.gguf$/i.test(path);
}

/** NAME-00002-of-00003.gguf, as llama.cpp calls the parts of a model. */
const GGUF_PART = /^(.*)-(\d{5})-of-(\d{5})(\.gguf)$/i;

/** The files of a model in GGUF of which this is one, by its name: all parts in order, or itself. */
export function ggufFiles(path: string): readonly string[] {
  const [, stem, number, count, end] = GGUF_PART.exec(path) ?? [];
  if (stem === undefined || Number(number) < 1 || Number(number) > Number(count)) return [path];
  return Array.from(
    { length: Number(count) },
    (_, i) => `${stem}-${String(i + 1).padStart(5, "0")}-of-${count}${end}`,
  );
}

/** Whether an adapter that is applied here is read from this file of its folder. */
export function isAdapterFile(path: string): boolean {
  const { config, weights } = MODEL_FILES.adapter;
  return path === config || path === weights;
}

/** Whether a client reads this file of a base model's folder; `path` has "/" between its parts. */
export function isBaseFile(path: string): boolean {
  const { config, weights, index, others } = MODEL_FILES.base;
  return [config, weights, index, ...others].includes(path) || isShardName(path);
}
