/** The tokenizer's and the template's files as a Hugging Face folder has them, of a GGUF file's metadata. */

import { utf8 } from "../../base/bytes.ts";
import { TacetError } from "../../base/errors.ts";
import type { JsonRecord } from "../json-file.ts";
import { bpeDefinition, characterDefinition } from "./bpe-definition.ts";
import type { Metadata } from "./metadata.ts";
import { sentencePieceFile } from "./sentencepiece-file.ts";
import { specialId, vocabularyOf } from "./special-ids.ts";

/** Made when they are asked for: a vocabulary of a quarter million tokens takes a second. Empty: ids only. */
export function textFilesOf(m: Metadata): Map<string, () => Uint8Array> {
  const files = new Map<string, () => Uint8Array>();
  const model = m.text("tokenizer.ggml.model", "none");
  if (model === "none" || model === "no_vocab" || !m.has("tokenizer.ggml.tokens")) return files;
  files.set("tokenizer_config.json", () => json(settingsOf(m)));
  if (model === "gpt2") files.set("tokenizer.json", () => json(bpeDefinition(m)));
  else if (model === "gemma4") files.set("tokenizer.json", () => json(characterDefinition(m)));
  else if (model === "llama") files.set("tokenizer.model", () => sentencePieceFile(m));
  else files.set("tokenizer.json", () => refuse(m, model));
  return files;
}

function refuse(m: Metadata, model: string): never {
  throw new TacetError(
    "bad_tokenizer",
    `${m.file.path}: tokenizer.ggml.model ${JSON.stringify(model.slice(0, 40))} is not supported (gpt2, llama and gemma4 are)`,
    { hint: "give token ids with --ids, or take the model's folder from the hub" },
  );
}

function settingsOf(m: Metadata): JsonRecord {
  const { texts } = vocabularyOf(m)!;
  const tokens = ["bos", "eos", "unknown", "padding"].flatMap((name) => {
    const id = specialId(m, name);
    const field = { unknown: "unk", padding: "pad" }[name] ?? name;
    return id === undefined ? [] : [[`${field}_token`, texts[id]]];
  });
  const template = m.value("tokenizer.chat_template");
  const flag = (name: string) =>
    m.has(`tokenizer.ggml.${name}`) ? { [name]: m.flag(`tokenizer.ggml.${name}`, false) } : {};
  return {
    ...Object.fromEntries(tokens),
    ...flag("add_bos_token"),
    ...flag("add_eos_token"),
    ...(typeof template === "string" ? { chat_template: template } : {}),
  };
}

function json(value: JsonRecord): Uint8Array {
  return utf8(JSON.stringify(value));
}
