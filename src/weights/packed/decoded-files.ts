/** Files that are in no folder: what they hold is decoded from other files where it is read. */

import { TacetError } from "../../base/errors.ts";
import type { FileTree } from "../../base/platform.ts";

/** Of the paths that are decoded; no file of a checkpoint has a slash in its name. */
export const DECODED_PREFIX = "packed/";

export interface DecodedFile {
  /** Its length. */
  readonly bytes: number;
  /** Bytes [offset, offset + length), which are inside it. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** The tree with what is decoded as files in it, by their paths. */
export function treeWithDecoded(tree: FileTree, files: ReadonlyMap<string, DecodedFile>): FileTree {
  return {
    label: tree.label,
    size: async (path) => files.get(path)?.bytes ?? (await tree.size(path)),
    read: async (path, offset, length) => {
      const file = files.get(path);
      if (file === undefined) return await tree.read(path, offset, length);
      if (offset + length <= file.bytes) return await file.read(offset, length);
      const what = `${path} has ${file.bytes} bytes, ${length} at ${offset} were asked for`;
      throw new TacetError("io_failed", what);
    },
    list: () => tree.list(),
    nativePath: (path) => (files.has(path) ? undefined : tree.nativePath(path)),
  };
}
