/** Bundles kept on disk between sessions: $XDG_CACHE_HOME/tacet/bundles/<digest>.safetensors. */
import { randomBytes } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";

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
    /** Written beside and renamed, so that a full disk or a crash leaves no half of a file under the name. */
    async put(digest: string, bytes: Uint8Array): Promise<void> {
      await writeAtomically(pathOf(digest), bytes, 0o644, dir);
    },
  };
}

/** Writes a file whole or not at all. */
export async function writeAtomically(
  path: string,
  bytes: Uint8Array,
  mode: number,
  dir: string,
): Promise<void> {
  await mkdir(dir, { recursive: true });
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    await writeFile(temporary, bytes, { mode, flush: true });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
