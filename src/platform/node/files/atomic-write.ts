/** Files that belong together, written whole or not at all. */
import { randomBytes } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { TacetError } from "../../../base/errors.ts";
import { errnoOf } from "./errno.ts";

export interface FileToWrite {
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly mode: number;
}

/**
 * Writes all files beside their names, flushed to the disk, then renames them: a full disk leaves none of them, and
 * what was there before stays.
 *
 * @throws TacetError io_failed
 */
export async function writeFiles(files: readonly FileToWrite[]): Promise<void> {
  const suffix = `.${randomBytes(6).toString("hex")}.tmp`;
  let path = "";
  try {
    for (const file of files) {
      path = file.path;
      await mkdir(dirname(path), { recursive: true });
      const handle = await open(path + suffix, "wx", file.mode);
      try {
        await handle.writeFile(file.bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
    }
    for (const file of files) {
      path = file.path;
      await rename(path + suffix, path);
    }
  } catch (cause) {
    await Promise.all(files.map((file) => rm(file.path + suffix, { force: true }).catch(() => {})));
    throw writeFailed(path, cause);
  }
}

function writeFailed(path: string, cause: unknown): TacetError {
  const errno = errnoOf(cause);
  const reasons: Record<string, [string, string?]> = {
    ENOSPC: ["the disk is full", "free some space; nothing was written"],
    EDQUOT: ["the disk quota is used up", "free some space; nothing was written"],
    EFBIG: ["it is larger than this process may write", "nothing was written"],
    EACCES: ["permission denied", "choose a folder that you may write to"],
    EPERM: ["permission denied", "choose a folder that you may write to"],
    EROFS: ["the file system is read-only", "choose a folder that you may write to"],
    ENOTDIR: ["a part of the path is not a folder"],
    EEXIST: ["a part of the path is not a folder"],
  };
  const [reason, hint] = reasons[errno] ?? [errno];
  return new TacetError("io_failed", `${path} cannot be written: ${reason}`, {
    cause,
    hint,
  });
}
