/**
 * Who holds a lock, named so that another process can tell whether it still runs. A pid alone does not do: it is given
 * out again, and every container has a process 1. On Linux a process is named by the boot of the kernel, the
 * namespaces that its pid and its times belong to, the pid, and the time it started. Elsewhere nothing is known of
 * a holder but that it touches its lock.
 */
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { errnoOf } from "./errno.ts";

export interface Holder {
  readonly pid: number;
  readonly host: string;
  /** Where the pid means this process and no other: boot and namespaces; null where the system does not say. */
  readonly space: string | null;
  /** Clock ticks from the boot to the start of the process; null where the system does not say. */
  readonly started: string | null;
  /** Distinguishes locks of one process. */
  readonly nonce: string;
}

/** "unknown": it may live in another container or on another machine. */
export type HolderState = "lives" | "ended" | "unknown";

export function thisProcess(nonce: string): Holder {
  const started = startOf("self");
  return {
    pid: process.pid,
    host: hostname(),
    space: started === null ? null : pidSpace(),
    started,
    nonce,
  };
}

/** Reads what a lock file says of its holder; undefined if that is nothing. */
export function parseHolder(text: string): Holder | undefined {
  try {
    const { pid, host, space, started, nonce } = JSON.parse(text) as Record<string, unknown>;
    if (!Number.isInteger(pid) || typeof host !== "string" || typeof nonce !== "string") return undefined;
    const textOrNull = (value: unknown) => (typeof value === "string" ? value : null);
    return { pid: pid as number, host, space: textOrNull(space), started: textOrNull(started), nonce };
  } catch {
    return undefined;
  }
}

/** Whether a pid of the holder's means the same process here. */
export function isOfOurSpace(holder: Holder): boolean {
  if (holder.space === null || holder.started === null) return false;
  const { space, host } = thisProcess("");
  return space === holder.space && host === holder.host;
}

export function stateOf(holder: Holder | undefined): HolderState {
  if (holder === undefined || !isOfOurSpace(holder)) return "unknown";
  const started = startOf(String(holder.pid));
  if (started !== null) return started === holder.started ? "lives" : "ended";
  // /proc may hide the processes of other users (hidepid): only a pid that nobody has is a process that has ended.
  return isTaken(holder.pid) ? "lives" : "ended";
}

function pidSpace(): string | null {
  try {
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
    const pids = readlinkSync("/proc/self/ns/pid");
    return boot === "" ? null : `${boot} ${pids} ${timeSpace()}`;
  } catch {
    return null;
  }
}

/** A time namespace shifts the start times that its processes read. Empty before Linux 5.6, which has none. */
function timeSpace(): string {
  try {
    return readlinkSync("/proc/self/ns/time");
  } catch {
    return "";
  }
}

/** Field 22 of /proc/PID/stat (proc_pid_stat(5)); null if it can't be read, or is not of our pid namespace. */
function startOf(pid: string): string | null {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return null;
  }
  // The second field is the program's name in brackets, which may hold spaces and brackets.
  const rest = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const own = Number.parseInt(stat, 10);
  // Where /proc is that of a namespace further out, its numbers are not ours.
  if (own !== (pid === "self" ? process.pid : Number(pid))) return null;
  return /^\d+$/.test(rest[19] ?? "") ? rest[19] : null;
}

function isTaken(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) !== "ESRCH";
  }
}
