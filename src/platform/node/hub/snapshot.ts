/** What the cache has of a repository, without asking anyone. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isShardName, MODEL_FILES, TOKENIZERS } from "../../../weights/model-files.ts";
import { sizeOf } from "./blob.ts";
import { isCommit, type RepoKind, SHARD_INDEX } from "./names.ts";

/**
 * The folder of a revision, if it has all that a model or an adapter needs; undefined otherwise. The tokenizer counts
 * as needed: a model without one is asked for again.
 */
export async function completeSnapshot(
  repoDir: string,
  revision: string,
  kind: RepoKind,
): Promise<string | undefined> {
  const commit = isCommit(revision)
    ? revision
    : (await readFile(join(repoDir, "refs", ...revision.split("/")), "utf8").catch(() => "")).trim();
  if (!isCommit(commit)) return undefined;
  const snapshot = join(repoDir, "snapshots", commit);
  const has = async (name: string) => (await sizeOf(join(snapshot, name))) !== undefined;
  const { config, weights } = MODEL_FILES[kind];
  if (!(await has(config))) return undefined;
  if (kind === "adapter") return (await has(weights)) ? snapshot : undefined;
  if (!(await Promise.all(TOKENIZERS.map(has))).includes(true)) return undefined;
  if (await has(weights)) return snapshot;
  for (const shard of await shardNames(join(snapshot, SHARD_INDEX)))
    if (!(await has(shard))) return undefined;
  return (await has(SHARD_INDEX)) ? snapshot : undefined;
}

/** File names of an index; one that is no plain name, or an index that cannot be read, makes nothing complete. */
async function shardNames(path: string): Promise<string[]> {
  try {
    const { weight_map: map } = JSON.parse(await readFile(path, "utf8")) as { weight_map: object };
    return [...new Set<unknown>(Object.values(map))].map((name) => (isShardName(name) ? name : "\0"));
  } catch {
    return ["\0"];
  }
}
