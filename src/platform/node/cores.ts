/**
 * How many processors this process may use. ONNX Runtime reads the processor's own description of itself, which in virtual
 * machines may have nothing to do with what they were given: on one of two cores it saw one. It also knows nothing of
 * limits. So the system is asked.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { groupFolders } from "./control-groups.ts";

/** The text of a file of /proc or /sys; "" where there is none. */
export type ReadText = (path: string) => string;

const readText: ReadText = (path) => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
};

/** Logical processors: those that the process is bound to, no more than control groups give it time for; at least 1. */
export function usableProcessors(allowed = availableParallelism(), read = readText): number {
  return Math.max(1, Math.min(allowed, Math.floor(Math.min(quotaV2(read), quotaV1(read)))));
}

/** Processors that share a core count once, since two threads of one gain little. undefined: the system does not say. */
export interface Cores {
  /** For this process: those it is bound to, no more than control groups give it time for. */
  readonly usable: number | undefined;
  /** Of the machine. */
  readonly ofMachine: number | undefined;
}

export function coresHere(allowed = availableParallelism(), read = readText): Cores {
  const online = listOf(read("/sys/devices/system/cpu/online"));
  // It may name processors that a virtual machine could be given and has not.
  const bound = listOf(/^Cpus_allowed_list:\s*(\S+)$/m.exec(read("/proc/self/status"))?.[1] ?? "");
  const own = coresOf(
    bound.filter((processor) => online.includes(processor)),
    read,
  );
  return {
    usable: own && Math.min(own, usableProcessors(allowed, read)),
    ofMachine: coresOf(online, read),
  };
}

function coresOf(processors: readonly number[], read: ReadText): number | undefined {
  const cores = processors.map((processor) =>
    read(`/sys/devices/system/cpu/cpu${processor}/topology/thread_siblings_list`).trim(),
  );
  return cores.length === 0 || cores.includes("") ? undefined : new Set(cores).size;
}

/** "0-2,5" → 0, 1, 2, 5 */
function listOf(text: string): number[] {
  return text
    .trim()
    .split(",")
    .flatMap((part) => {
      const [, first, last = first] = /^(\d+)(?:-(\d+))?$/.exec(part) ?? [];
      if (first === undefined) return [];
      return Array.from({ length: Number(last) - Number(first) + 1 }, (_, i) => Number(first) + i);
    });
}

function quotaV2(read: ReadText): number {
  const shares = groupFolders(read("/proc/self/cgroup")).map((dir) => {
    const [quota, period] = read(`${dir}/cpu.max`).split(" ");
    return share(quota, period);
  });
  return Math.min(...shares);
}

function quotaV1(read: ReadText): number {
  const dir = "/sys/fs/cgroup/cpu";
  return share(read(`${dir}/cpu.cfs_quota_us`), read(`${dir}/cpu.cfs_period_us`));
}

/** Processors' worth of time; no limit: "max", −1, or no file. */
function share(quota: string, period = ""): number {
  const [time, of] = [Number.parseInt(quota, 10), Number.parseInt(period, 10)];
  return time > 0 && of > 0 ? time / of : Number.POSITIVE_INFINITY;
}
