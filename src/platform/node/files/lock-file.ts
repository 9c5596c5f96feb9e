/**
 * One process at a time: a lock file that names its holder (lock-holder.ts) and is touched while it is held. The
 * lock of a process that has ended is taken over at once where that can be told, and otherwise when nobody has touched
 * it for a while. No clocks are compared: another machine's may be wrong.
 */
import { randomBytes } from "node:crypto";
import {
  closeSync,
  fstatSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { TacetError } from "../../../base/errors.ts";
import { errnoOf } from "./errno.ts";
import { type HolderState, isOfOurSpace, parseHolder, stateOf, thisProcess } from "./lock-holder.ts";

/** A holder touches its lock so often. */
const TOUCH_MS = 2_000;
/** Untouched for so long it counts as left behind: a holder may be busy for some seconds, or a disk slow. */
const STALE_MS = 15_000;
const FIRST_POLL_MS = 20;
const LONGEST_POLL_MS = 200;
/** Times in a row that a name is taken and has no file. */
const MOST_MISSES = 100;

export interface LockOptions {
  /** Who holds it and what for, as an error begins: "another provider uses the data folder data". */
  readonly what: string;
  /** Milliseconds that a holder who lives is waited for. Default 0. */
  readonly waitMs?: number | undefined;
  /** Called when somebody has taken the lock away, so that the holder stops writing. */
  readonly onLost?: (() => void) | undefined;
  /** Called once, when nothing can be told of the holder and so its lock has to be watched for `staleMs`. */
  readonly onWatch?: ((staleMs: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Default 15,000. */
  readonly staleMs?: number | undefined;
}

export interface FileLock {
  /** Whether nobody has taken it away. */
  isHeld(): boolean;
  release(): void;
}

/**
 * Takes the lock file `path`; it is there while the lock is held.
 *
 * @throws TacetError bad_state if another process holds it; io_failed if the file cannot be made; what `signal` gives
 */
export async function lockFile(path: string, options: LockOptions): Promise<FileLock> {
  const { what, waitMs = 0, onLost = () => {}, signal, staleMs = STALE_MS } = options;
  const nonce = randomBytes(16).toString("hex");
  const own = `${path}.${nonce}`;
  const guard = `${path}.takeover`;
  const deadline = performance.now() + waitMs;
  const lockWatch = new Watch(staleMs, options.onWatch);
  const guardWatch = new Watch(staleMs);
  try {
    writeFileSync(own, JSON.stringify(thisProcess(nonce)), { mode: 0o644 });
    let missed = 0;
    for (let pollMs = FIRST_POLL_MS; ; pollMs = Math.min(2 * pollMs, LONGEST_POLL_MS)) {
      signal?.throwIfAborted();
      // link, unlike rename, fails where the name is taken: one of several that try gets it.
      if (tryLink(own, path)) break;
      const found = look(path);
      // Released meanwhile; or a link to nothing, which is never released.
      missed = found === undefined ? missed + 1 : 0;
      if (missed > MOST_MISSES) throw Object.assign(new Error("no file"), { code: "ENOENT" });
      const state = found && lockWatch.judge(found);
      if (state === "ended" && takeOver(path, own, guard, found!.text)) break;
      if (state === "ended") {
        // Another is about to take it over, or has ended in the middle of that.
        const other = look(guard);
        if (other && guardWatch.judge(other) === "ended") rmSync(guard, { force: true });
      }
      if (state === "lives" && performance.now() >= deadline) throw inUse(path, what, found!.text);
      await sleep(pollMs * (0.5 + Math.random() / 2), undefined, signal ? { signal } : {}).catch(() => {});
    }
  } catch (cause) {
    if (cause instanceof TacetError || signal?.aborted) throw cause;
    const code = errnoOf(cause);
    throw new TacetError("io_failed", `the lock ${path} cannot be made (${code})`, { cause });
  } finally {
    rmSync(own, { force: true });
  }
  const isHeld = () => {
    try {
      return look(path)?.text.includes(nonce) === true;
    } catch {
      return true; // too many open files, say: nothing tells that it was taken
    }
  };
  const timer = setInterval(() => {
    if (isHeld()) return touch(path);
    clearInterval(timer);
    onLost();
  }, TOUCH_MS);
  timer.unref();
  return {
    isHeld,
    release() {
      clearInterval(timer);
      if (isHeld()) rmSync(path, { force: true });
    },
  };
}

interface LockState {
  readonly text: string;
  readonly touchedMs: number;
}

/**
 * What a lock file says now; undefined if there is none. Opened for it: a network's file system may remember the times
 * of files that are not.
 */
function look(path: string): LockState | undefined {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw cause;
  }
  try {
    return { text: readFileSync(file, "utf8"), touchedMs: fstatSync(file).mtimeMs };
  } finally {
    closeSync(file);
  }
}

/** Tells by watching whether a holder lives that may be anywhere: whoever touches a lock does. */
class Watch {
  readonly #staleMs: number;
  readonly #onWatch: ((staleMs: number) => void) | undefined;
  #first: LockState | undefined;
  #since = 0;
  #told = false;

  constructor(staleMs: number, onWatch?: (staleMs: number) => void) {
    this.#staleMs = staleMs;
    this.#onWatch = onWatch;
  }

  judge(found: LockState): HolderState {
    const state = stateOf(parseHolder(found.text));
    if (state !== "unknown") return state;
    if (this.#first?.text !== found.text) {
      this.#first = found;
      this.#since = performance.now();
    }
    if (found.touchedMs !== this.#first.touchedMs) return "lives";
    if (performance.now() - this.#since >= this.#staleMs) return "ended";
    if (!this.#told) this.#onWatch?.(this.#staleMs);
    this.#told = true;
    return "unknown";
  }
}

/**
 * Puts our lock instead of one that was left behind. Of several that want to, one at a time may, and looks whether
 * another was faster: else the second would remove the lock that the first has just got.
 */
function takeOver(path: string, own: string, guard: string, left: string): boolean {
  if (!tryLink(own, guard)) return false;
  try {
    if (look(path)?.text !== left) return false;
    renameSync(own, path);
    return true;
  } finally {
    rmSync(guard, { force: true });
  }
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (cause) {
    if (errnoOf(cause) === "EEXIST") return false;
    throw cause;
  }
}

function touch(path: string): void {
  try {
    utimesSync(path, new Date(), new Date());
  } catch {
    // the next time; others wait for several
  }
}

function inUse(path: string, what: string, text: string): TacetError {
  return new TacetError("bad_state", `${what} (${nameOf(text)})`, {
    hint:
      "wait until it ends, or stop it: a lock goes with its process, and one left by a crash is taken over. Delete " +
      `${path} only if you know that nothing uses it any more, in any container or on any machine`,
  });
}

function nameOf(text: string): string {
  const holder = parseHolder(text);
  if (holder === undefined) return "a process without a name";
  const where = isOfOurSpace(holder) ? "" : ` on ${holder.host}, in another container or on another machine`;
  return `process ${holder.pid}${where}`;
}
