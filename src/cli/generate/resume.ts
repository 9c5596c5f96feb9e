/** Going on with an answer that broke off: what `tacet generate --json` printed is where it was. */
import { readFile } from "node:fs/promises";
import { type ErrorCode, TacetError } from "../../base/errors.ts";
import { errnoOf } from "../../platform/node.ts";

export interface Resumed {
  readonly promptIds: readonly number[];
  /** Of the answer so far. */
  readonly ids: readonly number[];
}

/** Failures after which the same provider, or another, may give the rest. */
const WAITING_HELPS: readonly ErrorCode[] = [
  "connection_lost",
  "timed_out",
  "shutting_down",
  "unavailable",
  "too_many_requests",
  "budget_exhausted",
];

/**
 * A failure in the middle of an answer, which says how to go on. Only `--json` prints what that takes; nothing is kept
 * on disk unasked, since a prompt would be in it.
 */
export function resumable(error: unknown, { json, tokens }: { json: boolean; tokens: number }): unknown {
  if (!(error instanceof TacetError) || !WAITING_HELPS.includes(error.code) || tokens === 0) return error;
  const how = json
    ? "what is printed, in a FILE, goes on with 'tacet generate --resume FILE'"
    : "the text so far can't be gone on with: use --json, whose output --resume FILE takes";
  const hint = error.hint === undefined ? how : `${error.hint}; ${how}`;
  return new TacetError(error.code, error.message, { hint, cause: error });
}

const MAX_BYTES = 64 << 20;

/** @throws TacetError io_failed, bad_argument */
export async function readResume(path: string): Promise<Resumed> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new TacetError("io_failed", `${path} cannot be read (${errnoOf(cause)})`);
  });
  let value: Partial<Record<"promptIds" | "ids", unknown>> | null = null;
  if (bytes.length <= MAX_BYTES) {
    try {
      value = JSON.parse(bytes.toString("utf8"));
    } catch {
      // Without the cause, which quotes the file.
    }
  }
  const { promptIds, ids } = value ?? {};
  if (isIds(promptIds) && isIds(ids) && promptIds.length > 0) return { promptIds, ids };
  throw new TacetError("bad_argument", `${path} is not the output of 'tacet generate --json'`, {
    hint: "it must be one JSON object with the lists promptIds and ids",
  });
}

function isIds(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((id) => Number.isInteger(id) && id >= 0);
}
