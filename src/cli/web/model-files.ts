/** The files of a model's folder that the browser app is given, and nothing that a link in it leads to elsewhere. */
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, sep } from "node:path";
import { TacetError } from "../../base/errors.ts";
import {
  type FolderKind,
  ggufFiles,
  isAdapterFile,
  isBaseFile,
  isGgufName,
  MODEL_FILES,
} from "../../weights/model-files.ts";

export interface FoundFile {
  /** Below the folder, "/" between its parts. */
  readonly path: string;
  /** Where it is, links followed. */
  readonly file: string;
  readonly size: number;
  readonly changedMs: number;
}

/** All files under a folder. */
export async function filesUnder(
  folder: string,
  isWanted: (path: string) => boolean = () => true,
): Promise<FoundFile[]> {
  const found: FoundFile[] = [];
  for (const entry of (await readdir(folder, { recursive: true })).sort()) {
    const path = entry.replaceAll("\\", "/");
    if (!isWanted(path)) continue;
    const file = await realpath(join(folder, entry)).catch(() => undefined);
    const stats = file === undefined ? undefined : await stat(file).catch(() => undefined);
    if (file === undefined || !stats?.isFile()) continue;
    found.push({ path, file, size: stats.size, changedMs: stats.mtimeMs });
  }
  return found;
}

/**
 * What a client reads of a base model, its folder or GGUF file, or of an adapter that it applies itself.
 * @throws TacetError bad_checkpoint if a link leads out of the folder, other than into the hub's cache it belongs to
 */
export async function modelFilesOf(named: string, kind: FolderKind = "base"): Promise<FoundFile[]> {
  const isFile = (await stat(named)).isFile();
  const folder = isFile ? dirname(named) : named;
  if (kind === "base") {
    const files = await filesUnder(folder, (path) => isGgufName(path) && !path.includes("/"));
    const wanted = ggufFiles(basename(named));
    if (isFile) return files.filter(({ path }) => wanted.includes(path));
    if (files.length > 0 && !(await hasConfig(folder))) return files;
  }
  const roots = await rootsOf(folder);
  const found = await filesUnder(folder, kind === "base" ? isBaseFile : isAdapterFile);
  const stray = found.find(({ file }) => !roots.some((root) => file.startsWith(root + sep)));
  if (stray === undefined) return found;
  throw new TacetError("bad_checkpoint", `${folder}: ${stray.path} is a link that leads out of the folder`, {
    hint: "it would be handed to the browser: put the file itself there",
  });
}

async function hasConfig(folder: string): Promise<boolean> {
  return (await stat(join(folder, MODEL_FILES.base.config)).catch(() => undefined)) !== undefined;
}

/** The folder, and for a snapshot of the hub's cache the blobs of the same repository, to which its links lead. */
async function rootsOf(folder: string): Promise<readonly string[]> {
  const own = await realpath(folder);
  const repository = dirname(dirname(own));
  const isSnapshot =
    /^[0-9a-f]{40}$/.test(basename(own)) &&
    basename(dirname(own)) === "snapshots" &&
    basename(repository).startsWith("models--");
  const blobs = isSnapshot ? await realpath(join(repository, "blobs")).catch(() => undefined) : undefined;
  return blobs === undefined ? [own] : [own, blobs];
}
