/**
 * Models by their id on the Hugging Face hub, in the cache that huggingface_hub for Python uses
 * (models--org--name/{blobs,refs,snapshots}): files of one are found by the other.
 */

import { copyFile, mkdir, readFile, statfs, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { TacetError } from "../../../base/errors.ts";
import { writeFiles } from "../files/atomic-write.ts";
import { blobPath, failDisk, fetchBlob, sizeOf } from "./blob.ts";
import { listFiles } from "./file-list.ts";
import {
  chooseFiles,
  type HubFile,
  type HubId,
  isCommit,
  type RepoKind,
  SHARD_INDEX,
  shardsOf,
} from "./names.ts";
import type { RetryOptions } from "./request.ts";
import { type HubSettings, readHubSettings } from "./settings.ts";
import { completeSnapshot } from "./snapshot.ts";

export interface DownloadOptions extends RetryOptions {
  /** Bytes that are there and bytes in all, of what this call has to fetch. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Told when the hub is not reached and an earlier download is used. */
  readonly onWarning?: ((message: string) => void) | undefined;
  /** Default: by the environment. */
  readonly settings?: HubSettings | undefined;
}

/**
 * The folder of a model or adapter, downloaded where the cache does not have it. A base model's commit that is in the
 * cache needs no network; a branch is asked for, and taken from the cache where the hub is not reached, and so is an
 * adapter, of which the cache may have the weights without the tokenizer's files.
 *
 * @throws TacetError connection_failed, io_failed, bad_checkpoint, bad_adapter
 */
export async function downloadFromHub(
  id: HubId,
  kind: RepoKind,
  options: DownloadOptions = {},
): Promise<string> {
  const settings = options.settings ?? (await readHubSettings());
  const repoDir = join(settings.cacheDir, `models--${id.repo.replace("/", "--")}`);
  const cached = await completeSnapshot(repoDir, id.revision, kind);
  const isWhole = kind === "base" && isCommit(id.revision);
  if (cached !== undefined && (isWhole || settings.offline)) return cached;
  if (settings.offline) {
    throw new TacetError("io_failed", `${id.repo}@${id.revision} is not in ${settings.cacheDir}`, {
      hint: "HF_HUB_OFFLINE forbids to fetch it: give a folder, or unset HF_HUB_OFFLINE",
    });
  }
  try {
    return await download(id, kind, repoDir, settings, options);
  } catch (error) {
    if (cached === undefined || !(error instanceof TacetError) || error.code !== "connection_failed")
      throw error;
    options.onWarning?.(
      `cannot reach ${new URL(settings.endpoint).host}; using the cached copy of ${id.repo}`,
    );
    return cached;
  }
}

async function download(
  id: HubId,
  kind: RepoKind,
  repoDir: string,
  settings: HubSettings,
  options: DownloadOptions,
): Promise<string> {
  const { commit, files } = await listFiles(id, settings, options);
  const { small, weights } = chooseFiles(files, kind, id.repo);
  const snapshot = join(repoDir, "snapshots", commit);
  const first = weights.name === SHARD_INDEX ? [...small, weights] : small;
  const place = { id, commit, repoDir, snapshot, settings };
  await fetchAll(first, place, { ...options, onProgress: () => {} });
  const heavy =
    weights.name === SHARD_INDEX
      ? shardsOf(await readFile(join(snapshot, SHARD_INDEX), "utf8"), files, id.repo)
      : [weights];
  await fetchAll(heavy, place, options);
  if (id.revision !== commit) {
    const ref = join(repoDir, "refs", ...id.revision.split("/"));
    await writeFiles([{ path: ref, bytes: new TextEncoder().encode(commit), mode: 0o644 }]);
  }
  return snapshot;
}

interface HubRevision {
  readonly id: HubId;
  readonly commit: string;
  readonly repoDir: string;
  readonly snapshot: string;
  readonly settings: HubSettings;
}

async function fetchAll(
  files: readonly HubFile[],
  place: HubRevision,
  options: DownloadOptions,
): Promise<void> {
  const { id, commit, repoDir, snapshot, settings } = place;
  const missing: HubFile[] = [];
  for (const file of files) {
    if ((await sizeOf(join(snapshot, file.name))) !== file.size) missing.push(file);
  }
  const total = missing.reduce((sum, { size }) => sum + size, 0);
  await checkRoom(missing, repoDir, total, id);
  let before = 0;
  for (const file of missing) {
    const blob = blobPath(repoDir, file);
    const url = `${settings.endpoint}/${id.repo}/resolve/${commit}/${file.name.split("/").map(encodeURIComponent).join("/")}`;
    await fetchBlob(url, file, blob, settings, {
      ...options,
      onBytes: (bytes) => options.onProgress?.(before + bytes, total),
    });
    await link(blob, join(snapshot, file.name));
    before += file.size;
    options.onProgress?.(before, total);
  }
}

/** @throws TacetError io_failed if what is still to come has no room on the disk */
async function checkRoom(
  missing: readonly HubFile[],
  repoDir: string,
  total: number,
  { repo }: HubId,
): Promise<void> {
  let there = 0;
  for (const file of missing) {
    const blob = blobPath(repoDir, file);
    there += (await sizeOf(blob)) ?? (await sizeOf(`${blob}.incomplete`)) ?? 0;
  }
  if (total === 0) return;
  await mkdir(repoDir, { recursive: true }).catch((cause) => failDisk(repo, cause));
  const disk = await statfs(repoDir).catch(() => undefined);
  const free = disk === undefined ? Number.POSITIVE_INFINITY : disk.bavail * disk.bsize;
  if (total - there <= free) return;
  const mb = (bytes: number) => Math.ceil(bytes / 1e6);
  throw new TacetError(
    "io_failed",
    `${repo} needs ${mb(total - there)} MB more, and ${repoDir} has ${mb(free)} MB of room`,
    { hint: "make room, or set HF_HUB_CACHE to another disk" },
  );
}

/** A relative link, as Python makes it; a copy where links are not allowed. */
async function link(blob: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await symlink(relative(dirname(path), blob), path).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code === "EEXIST" && (await sizeOf(path)) === (await sizeOf(blob))) return;
    await copyFile(blob, path).catch((cause) => failDisk(path, cause));
  });
}
