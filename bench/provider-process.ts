// `tacet provider` in a separate process, as benches start it, and what a process has used.
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { spawnTacet } from "../test/support/tacet-process.ts";

/** Kill the child when it is not wanted any more. */
export async function startProvider(
  state: string,
  args: readonly string[] = [],
): Promise<{ child: ChildProcess; url: string }> {
  return await spawnTacet(["provider", "--state", state, "--port", "0", ...args]);
}

/** Largest resident memory that a process has had, in bytes; NaN where the system has no /proc. */
export function peakMemory(pid: number): number {
  try {
    return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
  } catch {
    return Number.NaN;
  }
}
