/** Opens a GGUF file, or a model in several: headers are read and checked, no tensor is read. */

import { TacetError } from "../../base/errors.ts";
import type { FileTree } from "../../base/platform.ts";
import { quoteName, refuseLfsPointer } from "../json-file.ts";
import { ggufFiles } from "../model-files.ts";
import { type GgufHeader, GgufFault, type GgufTensor, MoreNeeded, parseHeader } from "./header.ts";

/** A tensor with the file that it lies in. */
export interface FileTensor extends GgufTensor {
  readonly path: string;
}

export interface GgufFile extends GgufHeader {
  readonly tree: FileTree;
  /** Of several the first, which has the metadata. */
  readonly path: string;
  readonly tensors: ReadonlyMap<string, FileTensor>;
}

/** Read first; most of a header are the tokens' texts, some megabytes. */
const FIRST_BYTES = 1 << 20;
/** Longest header. The largest vocabularies take 20 MB. */
const MAX_HEADER_BYTES = 256 << 20;
/** llama.cpp's names for the number of parts, that of this one from 0 on, and how many tensors all have together. */
const SPLIT = { count: "split.count", number: "split.no", tensors: "split.tensors.count" } as const;

/**
 * @param path a model's file, or any of its parts: the others are found beside it by their names
 * @throws TacetError bad_checkpoint if it or another part is missing, or does not keep to the format
 */
export async function openGguf(tree: FileTree, path: string): Promise<GgufFile> {
  const file = await openFile(tree, path);
  const count = file.metadata.get(SPLIT.count) ?? 1;
  if (typeof count !== "number") throw refused(path, `"${SPLIT.count}" must be a number`);
  return count > 1 ? await openParts(file, count) : file;
}

/** @param one of the parts */
async function openParts(one: GgufFile, count: number): Promise<GgufFile> {
  const { tree, path } = one;
  const names = ggufFiles(path);
  if (names.length !== count) {
    throw new TacetError(
      "bad_checkpoint",
      `${path} is one of ${count} parts of a model, and is not called so`,
      {
        hint: `the others are found by their names: call them NAME-00001-of-${String(count).padStart(5, "0")}.gguf and so on`,
      },
    );
  }
  const tensors = new Map<string, FileTensor>();
  const parts: GgufFile[] = [];
  for (const [i, name] of names.entries()) {
    if ((await tree.size(name)) === undefined) {
      throw new TacetError("bad_checkpoint", `${name} is missing: the model has ${count} parts`, {
        hint: "put all parts into one folder, and give the path of one of them",
      });
    }
    const part = name === path ? one : await openFile(tree, name);
    const [number, itsCount] = [part.metadata.get(SPLIT.number), part.metadata.get(SPLIT.count)];
    if (number !== i || itsCount !== count) {
      const said = `"${SPLIT.number}" is ${Number(number)} and "${SPLIT.count}" ${Number(itsCount)}`;
      throw refused(name, `${said}, where its name says ${i} and ${count}`);
    }
    for (const tensor of part.tensors.values()) {
      if (tensors.has(tensor.name))
        throw refused(name, `tensor ${quoteName(tensor.name)} is in another part too`);
      tensors.set(tensor.name, tensor);
    }
    parts.push(part);
  }
  const all = parts[0].metadata.get(SPLIT.tensors) ?? tensors.size;
  if (all !== tensors.size) {
    throw refused(
      names[0],
      `"${SPLIT.tensors}" is ${Number(all)}, and the parts have ${tensors.size} tensors`,
    );
  }
  return { ...parts[0], tensors };
}

async function openFile(tree: FileTree, path: string): Promise<GgufFile> {
  const size = await tree.size(path);
  if (size === undefined) throw refused(path, "there is no such file");
  // A header that is not whole is read again with more of the file: at most four thirds of it in all.
  for (let length = FIRST_BYTES; ; length *= 4) {
    const bytes = await tree.read(path, 0, Math.min(length, size));
    refuseLfsPointer(bytes.subarray(0, 64), path, "bad_checkpoint");
    try {
      const { tensors, ...header } = parseHeader(bytes, size);
      const stored = [...tensors.values()].map((tensor) => [tensor.name, { ...tensor, path }] as const);
      return { tree, path, ...header, tensors: new Map(stored) };
    } catch (error) {
      if (error instanceof GgufFault) throw refused(path, error.message);
      if (!(error instanceof MoreNeeded)) throw error;
      if (length >= MAX_HEADER_BYTES) {
        throw refused(path, `its header has more than ${MAX_HEADER_BYTES} bytes`);
      }
    }
  }
}

function refused(path: string, what: string): TacetError {
  return new TacetError("bad_checkpoint", `${path}: ${what}`, {
    hint: "the file is damaged or incomplete: download it again",
  });
}
