/** Bundles kept on disk between sessions: $XDG_CACHE_HOME/tacet/bundles/<digest>.safetensors. */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { writeFiles } from "./atomic-write.ts";

export function defaultCacheDir(): string {
  const base = process.env.XDG_CACHE_HOME;
  return join(base && base !== "" ? base : join(homedir(), ".cache"), "tacet");
}

/** A client's BundleCache in a folder; it is made when it is needed. */
export function nodeBundleCache(dir = join(defaultCacheDir(), "bundles")) {
  const pathOf = (digest: string): string => {
    if (!/^[0-9a-f]{64}$/.test(digest)) throw new RangeError("not a digest");
    return join(dir, `${digest}.safetensors`);
  };
  return {
    async get(digest: string): Promise<Uint8Array | undefined> {
      const file = await readFile(pathOf(digest)).catch(() => undefined);
      // No Buffer leaves this layer: its slice is a view where a Uint8Array's is a copy.
      return file && new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
    },
    async put(digest: string, bytes: Uint8Array): Promise<void> {
      await writeFiles([{ path: pathOf(digest), bytes, mode: 0o644 }]);
    },
  };
}
