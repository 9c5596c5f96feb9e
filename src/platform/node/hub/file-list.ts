/** What a repository of the hub holds at a revision. */
import { ByteCollector } from "../../../base/byte-collector.ts";
import { TacetError } from "../../../base/errors.ts";
import { type HubFile, type HubId, isCommit } from "./names.ts";
import { hubGet, PassingFailure, type RetryOptions, withRetries } from "./request.ts";
import type { HubSettings } from "./settings.ts";

/** Most bytes of an answer; the largest repositories' have a few. */
const MAX_LIST_BYTES = 32_000_000;

export interface RepoFiles {
  readonly commit: string;
  /** By name; files whose listing is not whole are left out. */
  readonly files: ReadonlyMap<string, HubFile>;
}

/** @throws TacetError io_failed, connection_failed */
export async function listFiles(
  { repo, revision }: HubId,
  settings: HubSettings,
  options: RetryOptions,
): Promise<RepoFiles> {
  const url = `${settings.endpoint}/api/models/${repo}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const what = `model ${repo}@${revision}`;
  const { host } = new URL(settings.endpoint);
  const text = await withRetries(
    what,
    async () => {
      const { signal } = options;
      const { response } = await hubGet(url, what, settings, { signal });
      return await readBounded(response, host);
    },
    options,
  );
  let answer: { sha?: unknown; siblings?: unknown } | null;
  try {
    answer = JSON.parse(text);
  } catch {
    answer = null;
  }
  const { sha, siblings } = answer ?? {};
  if (typeof sha !== "string" || !isCommit(sha) || !Array.isArray(siblings)) {
    throw new TacetError("io_failed", `${host} does not answer as a hub does`, {
      hint: "check HF_ENDPOINT; a proxy may have answered in its place",
    });
  }
  const files = siblings.flatMap((entry) => fileOf(entry) ?? []);
  return { commit: sha, files: new Map(files.map((file) => [file.name, file])) };
}

function fileOf(entry: unknown): HubFile | undefined {
  const { rfilename, size, blobId, lfs } = (entry ?? {}) as Record<string, unknown>;
  const large = lfs as { sha256?: unknown; oid?: unknown; size?: unknown } | null | undefined;
  const digest = large ? (large.sha256 ?? large.oid) : blobId;
  const length = large?.size ?? size;
  if (typeof rfilename !== "string" || typeof digest !== "string") return undefined;
  if (!new RegExp(`^[0-9a-f]{${large ? 64 : 40}}$`).test(digest)) return undefined;
  if (!Number.isSafeInteger(length) || (length as number) < 0) return undefined;
  return { name: rfilename, size: length as number, digest };
}

async function readBounded(response: Response, host: string): Promise<string> {
  const bytes = new ByteCollector(MAX_LIST_BYTES);
  try {
    for await (const part of response.body ?? []) {
      if (bytes.length + part.length > MAX_LIST_BYTES) {
        throw new TacetError("io_failed", `${host} sends a list that is too long`);
      }
      bytes.add(part);
    }
  } catch (error) {
    throw error instanceof TacetError ? error : new PassingFailure("the connection was cut");
  }
  return Buffer.from(bytes.take().buffer).toString("utf8");
}
