/** A GGUF file as the checkpoint that it was made from: config.json, tokenizer and tensors as transformers has them. */

import { utf8 } from "../../base/bytes.ts";
import { TacetError } from "../../base/errors.ts";
import type { FileTree } from "../../base/platform.ts";
import type { JsonRecord } from "../json-file.ts";
import { isGgufName } from "../model-files.ts";
import type { TensorInfo } from "../safetensors.ts";
import { configOf } from "./config.ts";
import { ConvertedTensors } from "./converted-tensors.ts";
import { familyOf, GGUF_ARCHITECTURES } from "./families.ts";
import { Metadata } from "./metadata.ts";
import { openGguf } from "./open-gguf.ts";
import { planTensors } from "./plan-tensors.ts";
import { endIdsOf } from "./special-ids.ts";
import { isFloat, isRead } from "./tensor-kinds.ts";
import { textFilesOf } from "./text-files.ts";

export interface GgufContents {
  /** The files of a Hugging Face folder, made as they are read; tensors are at `path`, decoded. */
  readonly tree: FileTree;
  readonly config: JsonRecord;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** "GGUF, Q4_K and Q6_K" */
  readonly storedAs: string;
  /** The file's own tensors, blocks as bytes. */
  readonly stored: { readonly tree: FileTree; readonly tensors: ReadonlyMap<string, TensorInfo> };
}

/**
 * @param given the file, or one of its parts
 * @throws TacetError bad_checkpoint if the file is damaged, or lacks a field; unsupported_model for an architecture, a
 *   field or a kind of tensor that is not read
 */
export async function openGgufContents(tree: FileTree, given: string): Promise<GgufContents> {
  const m = new Metadata(await openGguf(tree, given));
  const { path } = m.file;
  refuseOthers(m);
  const family = familyOf(m);
  if (!family) {
    throw new TacetError(
      "unsupported_model",
      `${path}: general.architecture ${JSON.stringify(m.architecture.slice(0, 80))} does not run here`,
      { hint: `of GGUF files these do: ${GGUF_ARCHITECTURES.join(", ")}` },
    );
  }
  const config = await configOf(m, family, endIdsOf(m));
  const converted = new ConvertedTensors(tree, path, planTensors(m, family));
  const texts = new Map<string, () => Uint8Array>([["config.json", () => utf8(JSON.stringify(config))]]);
  for (const [name, write] of textFilesOf(m)) texts.set(name, write);
  return {
    tree: folderOf(tree, path, converted, texts),
    config,
    tensors: converted.infos,
    storedAs: `GGUF, ${kindsOf(m)}`,
    stored: { tree, tensors: storedTensors(m) },
  };
}

function storedTensors({ file }: Metadata): ReadonlyMap<string, TensorInfo> {
  const infos = [...file.tensors.values()].map(({ name, kind, shape, path, offset, bytes }): TensorInfo => {
    const dtype = isRead(kind.name) && isFloat(kind.name) ? kind.name : "U8";
    return { name, dtype, shape: dtype === "U8" ? [bytes] : shape, path, offset, bytes };
  });
  return new Map(infos.map((info) => [info.name, info]));
}

/** Files of the same format that are no model. */
function refuseOthers(m: Metadata): void {
  const { path } = m.file;
  const type = m.text("general.type", "model");
  if (type === "model") return;
  throw new TacetError(
    "unsupported_model",
    `${path} holds no model, general.type is ${JSON.stringify(type.slice(0, 40))}`,
    {
      hint: type === "adapter" ? "give an adapter as PEFT saves it" : "give the file with the language model",
    },
  );
}

/** Kinds of the matrices, those with the most entries first. */
function kindsOf({ file }: Metadata): string {
  const entries = new Map<string, number>();
  for (const { kind, shape } of file.tensors.values()) {
    if (shape.length < 2) continue;
    const size = shape.reduce((product, size) => product * size, 1);
    entries.set(kind.name, (entries.get(kind.name) ?? 0) + size);
  }
  const names = [...entries].sort(([, a], [, b]) => b - a).map(([name]) => name);
  return names.length < 2 ? names.join() : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

function folderOf(
  tree: FileTree,
  path: string,
  converted: ConvertedTensors,
  texts: ReadonlyMap<string, () => Uint8Array>,
): FileTree {
  const made = new Map<string, Uint8Array>();
  const textOf = (name: string): Uint8Array | undefined => {
    const write = texts.get(name);
    if (write && !made.has(name)) made.set(name, write());
    return made.get(name);
  };
  return {
    label: isGgufName(tree.label) ? tree.label : `${tree.label}/${path}`,
    size: async (name) => (name === path ? converted.bytes : textOf(name)?.length),
    async read(name, offset, length) {
      const size = name === path ? converted.bytes : (textOf(name)?.length ?? 0);
      if (offset < 0 || length < 0 || offset + length > size) {
        throw new TacetError("io_failed", `${name} has ${size} bytes, ${length} at ${offset} were asked for`);
      }
      if (name === path) return await converted.read(offset, length);
      return textOf(name)!.slice(offset, offset + length);
    },
    list: async () => [...texts.keys(), path].sort(),
    nativePath: () => undefined,
  };
}
