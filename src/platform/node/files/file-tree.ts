/** A folder on disk, or a single file of one, as a {@link FileTree}. */

import { realpathSync, type Stats, statSync } from "node:fs";
import { type FileHandle, open, readdir, stat } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { TacetError } from "../../../base/errors.ts";
import type { FileTree } from "../../../base/platform.ts";
import { ggufFiles, isGgufName } from "../../../weights/model-files.ts";
import { errnoOf } from "./errno.ts";

/** Most bytes asked of one read call: Node refuses 2 GiB and more. */
const MAX_READ = 1 << 30;

/**
 * Read access to the files under a folder; of the path of a GGUF file, to that file and its other parts alone. Paths are
 * relative, with "/" between their parts; a path that would leave the folder by itself is refused. Symbolic links are
 * followed, also out of the folder: Hugging Face's cache keeps its snapshots that way.
 *
 * @throws TacetError io_failed if there is no such folder
 */
export function nodeFileTree(dir: string): FileTree {
  const root = resolve(dir);
  const stats = statSync(root, { throwIfNoEntry: false });
  if (isGgufName(dir) && stats?.isFile()) return onlyFile(nodeFileTree(dirname(root)), basename(root), dir);
  if (!stats?.isDirectory()) {
    const what = isGgufName(dir) && !stats ? "no such file" : stats ? "not a folder" : "no such folder";
    throw new TacetError("io_failed", `${dir}: ${what}`, {
      hint: "give the path of the folder that holds the files",
    });
  }

  return {
    label: dir,
    async size(path) {
      const found = await statOrUndefined(join(root, path), path);
      return found?.isFile() ? found.size : undefined;
    },
    async read(path, offset, length) {
      if (!Number.isSafeInteger(offset) || offset < 0 || !Number.isSafeInteger(length) || length < 0) {
        throw new RangeError(`bad range: ${length} bytes at ${offset}`);
      }
      return await readRange(join(root, path), path, offset, length);
    },
    async list() {
      const entries = await readdir(root, { withFileTypes: true }).catch((cause) => fail(dir, cause));
      return entries
        .filter((entry) => !entry.isDirectory())
        .map((entry) => entry.name)
        .sort();
    },
    nativePath: (path) => followLinks(join(root, path)),
  };
}

/** What the folder has of one name, or of the parts of which it is one. */
function onlyFile(folder: FileTree, name: string, label: string): FileTree {
  const names = ggufFiles(name);
  return {
    ...folder,
    label,
    size: async (path) => (names.includes(path) ? await folder.size(path) : undefined),
    list: async () => (await folder.list()).filter((path) => names.includes(path)),
  };
}

/** ONNX Runtime opens no link that leads out of its folder; the path as it is where there is no such file. */
function followLinks(path: string): string {
  return statSync(path, { throwIfNoEntry: false }) ? realpathSync(path) : path;
}

/** @throws TacetError io_failed for a path that is absolute or has a part that goes up */
function join(root: string, path: string): string {
  const parts = path.split(/[/\\]/);
  if (
    path.includes("\0") ||
    parts.some((part) => part === "" || part === "." || part === ".." || /^[A-Za-z]:/.test(part))
  ) {
    throw new TacetError("io_failed", `${JSON.stringify(path)} is not a path inside ${root}`);
  }
  return resolve(root, path);
}

async function statOrUndefined(path: string, name: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (cause) {
    const code = errnoOf(cause);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    return fail(name, cause);
  }
}

async function readRange(path: string, name: string, offset: number, length: number): Promise<Uint8Array> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, "r");
    const { size } = await file.stat();
    // Before the allocation: a length out of a hostile header costs nothing.
    if (offset + length > size) throw tooShort(name, offset, length, size);
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await file.read(bytes, done, Math.min(length - done, MAX_READ), offset + done);
      if (bytesRead === 0) throw tooShort(name, offset, length, offset + done);
      done += bytesRead;
    }
    return bytes;
  } catch (cause) {
    return fail(name, cause);
  } finally {
    await file?.close();
  }
}

function tooShort(name: string, offset: number, length: number, size: number): TacetError {
  return new TacetError("io_failed", `${name} has ${size} bytes, ${length} at ${offset} were asked for`);
}

function fail(name: string, cause: unknown): never {
  if (cause instanceof TacetError) throw cause;
  throw new TacetError("io_failed", `${name} cannot be read (${errnoOf(cause)})`, {
    cause,
  });
}
