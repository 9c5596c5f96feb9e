/** Files in memory as a {@link FileTree}: what a bundle is unpacked into, and what tests are written with. */

import { TacetError } from "../base/errors.ts";
import type { FileTree } from "../base/platform.ts";

export function memoryFileTree(files: Readonly<Record<string, Uint8Array>>, label = "memory"): FileTree {
  const byPath = new Map(Object.entries(files));
  return {
    label,
    size: async (path) => byPath.get(path)?.length,
    async read(path, offset, length) {
      const file = byPath.get(path);
      if (!file || offset + length > file.length) {
        throw new TacetError(
          "io_failed",
          `${path} has ${file?.length ?? 0} bytes, ${length} at ${offset} were asked for`,
        );
      }
      // A copy, also where the file is a Buffer of Node's, whose slice is a view.
      return new Uint8Array(file.subarray(offset, offset + length));
    },
    list: async () => [...byPath.keys()].filter((path) => !path.includes("/")).sort(),
    nativePath: () => undefined,
  };
}
