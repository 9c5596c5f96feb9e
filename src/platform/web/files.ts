/**
 * A folder behind a web server as a {@link FileTree}. Files come once, whole, with progress, and stay in the
 * browser's private file system: the next visit needs no network for them.
 */
import { TacetError } from "../../base/errors.ts";
import type { FileTree } from "../../base/platform.ts";
import {
  bytesOfBlob,
  originFile,
  originFolder,
  originNames,
  removeOriginFile,
  writeOriginFile,
} from "./origin-files.ts";

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

/** Where the files of models are kept: a folder for each URL, in it one for a version. */
const FOLDER = "tacet-models";

/**
 * Fetches all files of a folder, or takes them from what the browser keeps. Their bytes are on disk, or in memory where
 * the browser keeps nothing, and come in when they are read.
 *
 * @param onProgress fraction of all bytes
 * @throws TacetError io_failed if a file does not come whole
 */
export async function loadWebFolder(
  folder: WebFolder,
  onProgress: (fraction: number) => void = () => {},
): Promise<FileTree> {
  const kept = await openKept(folder);
  const total = folder.files.reduce((sum, { size }) => sum + size, 0);
  const files = new Map<string, Blob>();
  let done = 0;
  for (const file of folder.files) {
    const before = done;
    const count = (bytes: number): void => {
      done += bytes;
      onProgress(Math.min(1, done / total));
    };
    const found = kept && (await originFile(kept, file.path));
    if (found?.size === file.size) {
      files.set(file.path, found);
      count(file.size);
      continue;
    }
    try {
      files.set(file.path, await fetchFile(folder.url, file, kept, count));
    } catch (error) {
      if (kept === undefined || error instanceof TacetError) throw error;
      // Full storage costs the next visit time, not this one its answer.
      done = before;
      files.set(file.path, await fetchFile(folder.url, file, undefined, count));
    }
  }
  return {
    label: folder.url,
    size: async (path) => files.get(path)?.size,
    async read(path, offset, length) {
      const file = files.get(path);
      if (!file || offset + length > file.size) {
        const held = file?.size ?? 0;
        throw new TacetError("io_failed", `${path} has ${held} bytes, ${length} at ${offset} were asked for`);
      }
      return await bytesOfBlob(file, offset, length).catch((cause: unknown) => {
        const why = String((cause as Error | undefined)?.name ?? "unknown error");
        throw new TacetError("io_failed", `${path} cannot be read from the browser's storage (${why})`, {
          hint: "reload the page",
          cause,
        });
      });
    },
    list: async () => [...files.keys()].filter((path) => !path.includes("/")).sort(),
    nativePath: () => undefined,
  };
}

/** Whether all files of a folder are kept for a visit without network. */
export async function isWebFolderKept(folder: WebFolder): Promise<boolean> {
  const kept = await openKept(folder);
  if (kept === undefined) return false;
  const sizes = await Promise.all(folder.files.map(async ({ path }) => (await originFile(kept, path))?.size));
  return folder.files.every(({ size }, i) => sizes[i] === size);
}

/** The folder of this version; those of others of the same URL are removed. Undefined where the browser has none. */
async function openKept({ url, version }: WebFolder): Promise<FileSystemDirectoryHandle | undefined> {
  const all = await originFolder(FOLDER, url);
  if (all === undefined) return undefined;
  for (const other of await originNames(all)) if (other !== version) await removeOriginFile(all, other);
  return await originFolder(FOLDER, url, version);
}

/** @throws TacetError io_failed if it does not come whole; another error if `kept` takes no more */
async function fetchFile(
  folder: string,
  { path, size }: WebFile,
  kept: FileSystemDirectoryHandle | undefined,
  onBytes: (count: number) => void,
): Promise<Blob> {
  const url = new URL(path.split("/").map(encodeURIComponent).join("/"), folder).href;
  const file = kept && (await writeOriginFile(kept, path));
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let filled = 0;
  try {
    for await (const piece of bodyOf(url, path)) {
      filled += piece.length;
      if (filled > size) throw broken(path, "it is longer than announced");
      if (file) await file.write(piece);
      else pieces.push(piece);
      onBytes(piece.length);
    }
    if (filled < size) throw broken(path, `only ${filled} of ${size} bytes came`);
    if (file === undefined) return new Blob(pieces);
    await file.close();
    return (await originFile(kept!, path)) ?? Promise.reject(new TypeError("it is not there"));
  } catch (error) {
    await file?.abort().catch(() => {});
    throw error;
  }
}

async function* bodyOf(url: string, path: string): AsyncIterable<Uint8Array<ArrayBuffer>> {
  try {
    const response = await fetch(url, { redirect: "error" });
    if (!response.ok || !response.body) throw new Error(`status ${response.status}`);
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch (cause) {
    throw broken(path, (cause as Error).message);
  }
}

function broken(path: string, why: string): TacetError {
  return new TacetError("io_failed", `${path} could not be loaded (${why})`, {
    hint: "check that the program that serves this page still runs, then reload",
  });
}
