/**
 * One writer for a folder: a lock file that names its holder and is touched while it is held. The lock of a process
 * that has ended is taken over at once on the same host, elsewhere when it has not been touched for a while (two
 * containers that share a folder both think they are process 1).
 */
import { randomBytes } from "node:crypto";
import { linkSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { TacetError } from "../../../base/errors.ts";

const TOUCH_MS = 2_000;
const STALE_MS = 15_000;
/** Locks that this process holds. */
const held = new Set<string>();

export interface FolderLock {
  release(): void;
}

interface Holder {
  readonly pid: number;
  readonly host: string;
  readonly nonce: string;
}

/**
 * @param onLost called when somebody has taken the lock away, so that the holder stops writing
 * @throws TacetError bad_state if another process holds it
 */
export function lockFolder(path: string, onLost: () => void): FolderLock {
  const nonce = randomBytes(16).toString("hex");
  const mine = JSON.stringify({ pid: process.pid, host: hostname(), nonce });
  const isMine = () => contents(path)?.includes(nonce) === true;
  const own = `${path}.${nonce}`;
  writeFileSync(own, mine, { mode: 0o600 });
  try {
    // link, unlike rename, fails where the name is taken: one of several that try gets it.
    for (let attempt = 0; !tryLink(own, path); attempt++) {
      const before = contents(path);
      if (before === undefined) continue;
      if (attempt > 8 || !isStale(path, before)) throw inUse(path, before);
      const aside = `${own}.old`;
      renameSync(path, aside);
      const taken = contents(aside);
      // Somebody was faster and this is his, fresh lock: back with it.
      if (taken !== before) tryLink(aside, path);
      rmSync(aside, { force: true });
    }
  } catch (cause) {
    if (cause instanceof TacetError) throw cause;
    throw new TacetError(
      "io_failed",
      `${path} cannot be made (${String((cause as { code?: unknown }).code)})`,
      {
        cause,
      },
    );
  } finally {
    rmSync(own, { force: true });
  }
  held.add(nonce);
  const timer = setInterval(() => {
    if (isMine()) return utimesSync(path, new Date(), new Date());
    clearInterval(timer);
    onLost();
  }, TOUCH_MS);
  timer.unref();
  return {
    release() {
      clearInterval(timer);
      held.delete(nonce);
      if (isMine()) rmSync(path, { force: true });
    },
  };
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (cause) {
    if ((cause as { code?: unknown }).code === "EEXIST") return false;
    throw cause;
  }
}

function contents(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function isStale(path: string, text: string): boolean {
  let holder: Holder;
  try {
    holder = JSON.parse(text) as Holder;
  } catch {
    return true; // links are made of whole files: this is none of ours
  }
  // Our own number with a lock that is not ours: a process before us had it, and has ended.
  if (holder.host === hostname())
    return holder.pid === process.pid ? !held.has(holder.nonce) : !isAlive(holder.pid);
  return isOld(path);
}

function isOld(path: string): boolean {
  const age = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0);
  // A touched time in the future is a clock that was set back.
  return Math.abs(age) > STALE_MS;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: unknown }).code === "EPERM";
  }
}

function inUse(path: string, text: string): TacetError {
  const pid = /"pid":(\d+)/.exec(text)?.[1] ?? "?";
  return new TacetError("bad_state", `another provider (process ${pid}) uses this data folder: ${path}`, {
    hint: "give each provider its own --data",
  });
}
