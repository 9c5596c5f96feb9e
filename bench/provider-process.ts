// `tacet provider` in a separate process, as benches start it, and what a process has used.
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const MAIN = join(fileURLToPath(new URL("..", import.meta.url)), "dist/cli/main.js");

export async function startProvider(
  state: string,
  args: readonly string[] = [],
): Promise<{ child: ChildProcess; url: string }> {
  const command = [MAIN, "provider", "--state", state, "--port", "0", ...args];
  const child = spawn(process.execPath, command, { stdio: ["ignore", "pipe", "ignore"] });
  for await (const line of createInterface({ input: child.stdout! })) {
    const url = /listening on (ws:\S+)/.exec(line)?.[1];
    if (url !== undefined) return { child, url };
  }
  throw new Error("the provider did not start");
}

/** Largest resident memory that a process has had, in bytes; NaN where the system has no /proc. */
export function peakMemory(pid: number): number {
  try {
    return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
  } catch {
    return Number.NaN;
  }
}

/** This process's peak counts from now on, where the system can do that. */
export function resetPeakMemory(): void {
  try {
    writeFileSync("/proc/self/clear_refs", "5");
  } catch {
    // No such file: the peak then includes what ran before.
  }
}
