/** Opens a GGUF file: its header is read and checked, no tensor is read. */

import { TacetError } from "../../base/errors.ts";
import type { FileTree } from "../../base/platform.ts";
import { refuseLfsPointer } from "../json-file.ts";
import { type GgufHeader, GgufFault, MoreNeeded, parseHeader } from "./header.ts";

export interface GgufFile extends GgufHeader {
  readonly tree: FileTree;
  readonly path: string;
}

/** Read first; most of a header are the tokens' texts, some megabytes. */
const FIRST_BYTES = 1 << 20;
/** Longest header. The largest vocabularies take 20 MB. */
const MAX_HEADER_BYTES = 256 << 20;

/** @throws TacetError bad_checkpoint if it is missing or does not keep to the format */
export async function openGguf(tree: FileTree, path: string): Promise<GgufFile> {
  const refuse = (what: string): TacetError =>
    new TacetError("bad_checkpoint", `${path}: ${what}`, {
      hint: "the file is damaged or incomplete: download it again",
    });
  const size = await tree.size(path);
  if (size === undefined) throw refuse("there is no such file");
  // A header that is not whole is read again with more of the file: at most four thirds of it in all.
  for (let length = FIRST_BYTES; ; length *= 4) {
    const bytes = await tree.read(path, 0, Math.min(length, size));
    refuseLfsPointer(bytes.subarray(0, 64), path, "bad_checkpoint");
    try {
      return { tree, path, ...parseHeader(bytes, size) };
    } catch (error) {
      if (error instanceof GgufFault) throw refuse(error.message);
      if (!(error instanceof MoreNeeded)) throw error;
      if (length >= MAX_HEADER_BYTES) throw refuse(`its header has more than ${MAX_HEADER_BYTES} bytes`);
    }
  }
}
