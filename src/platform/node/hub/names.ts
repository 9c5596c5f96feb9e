/** Names of the Hugging Face hub: ids that a user gives, file names that a server gives. Both are validated so that they cannot escape the cache folder. */

import { TacetError } from "../../../base/errors.ts";
import { type FolderKind, isShardName, MODEL_FILES } from "../../../weights/model-files.ts";

export interface HubId {
  /** org/name */
  readonly repo: string;
  /** A branch, a tag, or a commit. */
  readonly revision: string;
}

/** What the hub allows in a name (huggingface_hub, validate_repo_id): no ".." and no "--", which separates in the cache. */
const NAME = /^(?![.-])(?!.*(?:\.\.|--))[A-Za-z0-9._-]{1,96}(?<![.-])$/;

/** "org/name" or "org/name@revision"; undefined: not of that form. */
export function parseHubId(text: string): HubId | undefined {
  const at = text.indexOf("@");
  const repo = at < 0 ? text : text.slice(0, at);
  const revision = at < 0 ? "main" : text.slice(at + 1);
  const names = repo.split("/");
  if (names.length !== 2 || !names.every((name) => NAME.test(name)) || !isRevision(revision))
    return undefined;
  return { repo, revision };
}

function isRevision(text: string): boolean {
  return (
    text.length <= 200 &&
    /^[A-Za-z0-9._/+-]+$/.test(text) &&
    text.split("/").every((part) => part !== "" && !part.startsWith(".") && !part.startsWith("-"))
  );
}

export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

/** A file of a repository, with the digest that its bytes must have. */
export interface HubFile {
  readonly name: string;
  readonly size: number;
  /** Also its name in the cache: SHA-256 of its bytes, or, of files that are in git itself, git's SHA-1. */
  readonly digest: string;
}

export type RepoKind = FolderKind;
export const SHARD_INDEX = MODEL_FILES.base.index;

export interface WantedFiles {
  /** To fetch first. */
  readonly small: readonly HubFile[];
  /** One file of weights, or the index that names the shards. */
  readonly weights: HubFile;
}

/** @throws TacetError bad_checkpoint or bad_adapter if the repository has no such files, or pickled weights only */
export function chooseFiles(files: ReadonlyMap<string, HubFile>, kind: RepoKind, repo: string): WantedFiles {
  const code = kind === "base" ? "bad_checkpoint" : "bad_adapter";
  const { config, others, weights: single } = MODEL_FILES[kind];
  const small = [config, ...others].flatMap((name) => files.get(name) ?? []);
  if (small[0]?.name !== config) {
    throw new TacetError(code, `${repo} has no ${config}`, {
      hint: kind === "base" ? "give the id of a model" : "give the id of a PEFT adapter",
    });
  }
  const weights = files.get(single) ?? (kind === "base" ? files.get(SHARD_INDEX) : undefined);
  if (weights !== undefined) return { small, weights };
  const pickled = [...files.keys()].some((name) => /\.(bin|pt|pth)$/.test(name));
  throw new TacetError(
    code,
    `${repo} has no ${single}${pickled ? ", only pickled weights: reading them can run code" : ""}`,
    {
      hint: "convert it with save_pretrained(..., safe_serialization=True), or look for a revision that has it",
    },
  );
}

/** @throws TacetError bad_checkpoint if the index names what is no plain file of the repository */
export function shardsOf(indexText: string, files: ReadonlyMap<string, HubFile>, repo: string): HubFile[] {
  const bad = (problem: string) => new TacetError("bad_checkpoint", `${repo}: ${SHARD_INDEX} ${problem}`);
  let index: unknown;
  try {
    index = JSON.parse(indexText);
  } catch {
    throw bad("is not JSON");
  }
  const map = (index as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== "object" || map === null) throw bad("has no weight_map");
  return [...new Set(Object.values(map as Record<string, unknown>))].map((name) => {
    if (!isShardName(name)) throw bad("names a file that is no plain safetensors file");
    const file = files.get(name);
    if (file === undefined) throw bad(`names ${name}, which the repository does not have`);
    return file;
  });
}
