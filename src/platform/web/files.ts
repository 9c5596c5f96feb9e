/**
 * A folder behind a web server as a {@link FileTree}. Files come once, whole, with progress, and stay in the
 * browser's cache storage: the next visit needs no network for them.
 */
import { TacetError } from "../../base/errors.ts";
import type { FileTree } from "../../base/platform.ts";

export interface WebFile {
  readonly path: string;
  readonly size: number;
}

export interface WebFolder {
  /** URL of the folder, ending in "/". */
  readonly url: string;
  readonly files: readonly WebFile[];
  /** Changes when any file changes: the name under which the files are kept. */
  readonly version: string;
}

/** Prefix of the caches that belong to models. */
const CACHE_PREFIX = "tacet-model-";

/**
 * Fetches all files of a folder, or takes them from the cache.
 *
 * @param onProgress fraction of all bytes
 * @throws TacetError io_failed if a file does not come whole
 */
export async function loadWebFolder(
  folder: WebFolder,
  onProgress: (fraction: number) => void = () => {},
): Promise<FileTree & { bytesOf(path: string): Uint8Array | undefined }> {
  const cache = await openCache(folder);
  const total = folder.files.reduce((sum, { size }) => sum + size, 0);
  const files = new Map<string, Uint8Array>();
  let done = 0;
  for (const { path, size } of folder.files) {
    const url = new URL(path.split("/").map(encodeURIComponent).join("/"), folder.url).href;
    const count = (bytes: number): void => {
      done += bytes;
      onProgress(Math.min(1, done / total));
    };
    const kept = await cache?.match(url);
    const bytes = kept ? new Uint8Array(await kept.arrayBuffer()) : undefined;
    if (bytes?.length === size) {
      count(size);
      files.set(path, bytes);
      continue;
    }
    files.set(path, await download(url, path, size, count));
    // Full storage costs the next visit time, not this one its answer.
    await cache?.put(url, new Response(files.get(path) as Uint8Array<ArrayBuffer>)).catch(() => {});
  }
  return {
    label: folder.url,
    bytesOf: (path) => files.get(path),
    size: async (path) => files.get(path)?.length,
    async read(path, offset, length) {
      const file = files.get(path);
      if (!file || offset + length > file.length) {
        const held = file?.length ?? 0;
        throw new TacetError("io_failed", `${path} has ${held} bytes, ${length} at ${offset} were asked for`);
      }
      return file.slice(offset, offset + length);
    },
    list: async () => [...files.keys()].filter((path) => !path.includes("/")).sort(),
    nativePath: () => undefined,
  };
}

/** The cache of this version; those of the folder's others are removed. Undefined where the browser allows none. */
async function openCache({ url, version }: WebFolder): Promise<Cache | undefined> {
  try {
    const name = CACHE_PREFIX + version;
    for (const other of await caches.keys()) {
      if (!other.startsWith(CACHE_PREFIX) || other === name) continue;
      const [kept] = await (await caches.open(other)).keys();
      if (kept === undefined || kept.url.startsWith(url)) await caches.delete(other);
    }
    return await caches.open(name);
  } catch {
    return undefined;
  }
}

async function download(
  url: string,
  path: string,
  size: number,
  onBytes: (count: number) => void,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(size);
  let filled = 0;
  try {
    const response = await fetch(url, { redirect: "error" });
    if (!response.ok || !response.body) throw new Error(`status ${response.status}`);
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (filled + value.length > size) throw new Error("it is longer than announced");
      bytes.set(value, filled);
      filled += value.length;
      onBytes(value.length);
    }
    if (filled < size) throw new Error(`only ${filled} of ${size} bytes came`);
    return bytes;
  } catch (cause) {
    throw new TacetError("io_failed", `${path} could not be loaded (${(cause as Error).message})`, {
      hint: "check that the program that serves this page still runs, then reload",
    });
  }
}
