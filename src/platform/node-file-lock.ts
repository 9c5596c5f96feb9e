/** One process at a time: a lock is a file that its holder keeps touching. */

import { open, rm, stat, utimes } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { TacetError } from "../base/errors.ts";

const TOUCH_MS = 2_000;
/** A lock that was not touched for this long was left by a process that died. */
const STALE_MS = 15_000;
const POLL_MS = 200;

/** @throws TacetError io_failed if the lock cannot be written; the signal's reason */
export async function withFileLock<T>(
  path: string,
  work: () => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  while (!(await take(path))) {
    signal?.throwIfAborted();
    await sleep(POLL_MS);
  }
  const touch = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => {});
  }, TOUCH_MS);
  touch.unref();
  try {
    return await work();
  } finally {
    clearInterval(touch);
    await rm(path, { force: true });
  }
}

async function take(path: string): Promise<boolean> {
  try {
    await (await open(path, "wx")).close();
    return true;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== "EEXIST")
      throw new TacetError("io_failed", `${path} cannot be written (${code})`, { cause });
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined && Date.now() - found.mtimeMs > STALE_MS) await rm(path, { force: true });
    return false;
  }
}
