// What else ran on the machine: on a shared one it explains figures that no engine is to blame for.
import { readFileSync } from "node:fs";

/** Processor time so far, in the kernel's ticks. */
interface Ticks {
  /** Of all processors, idle or not. */
  readonly all: number;
  readonly busy: number;
  /** Of the processes that are watched. */
  readonly own: number;
}

/**
 * Starts to watch. The function that it gives says which part of all processors' time others took since then; NaN where
 * the system has no /proc.
 * @param pids the processes that are no others
 */
export function watchOthers(pids: readonly number[]): () => number {
  const start = readTicks(pids);
  return () => {
    const now = readTicks(pids);
    return (now.busy - start.busy - (now.own - start.own)) / (now.all - start.all);
  };
}

/** Longest wait for processes to come to rest. */
const REST_MS = 20_000;
/** They have, when they use at most one tick in this time. */
const STILL_MS = 100;

/**
 * Resolves when the processes are at rest: what one of them still does, making keys or waiting awake for work, would fall
 * into the next one's time.
 */
export async function atRest(pids: readonly number[]): Promise<void> {
  const started = performance.now();
  for (let before = readTicks(pids).own; performance.now() - started < REST_MS; ) {
    await new Promise((resolve) => setTimeout(resolve, STILL_MS));
    const now = readTicks(pids).own;
    if (!(now - before > 1)) return;
    before = now;
  }
  console.error("the engines do not come to rest: figures may be too high");
}

function readTicks(pids: readonly number[]): Ticks {
  try {
    const [user, nice, system, idle, wait, irq, softIrq, steal] = /^cpu +(.*)$/m
      .exec(readFileSync("/proc/stat", "utf8"))![1]
      .split(" ")
      .map(Number);
    const busy = user + nice + system + irq + softIrq + steal;
    return { all: busy + idle + wait, busy, own: pids.reduce((sum, pid) => sum + ticksOf(pid), 0) };
  } catch {
    return { all: Number.NaN, busy: Number.NaN, own: Number.NaN };
  }
}

/** Fields 14 and 15; the second one, the name, may hold spaces. */
function ticksOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /s, "")
    .split(" ");
  return Number(fields[11]) + Number(fields[12]);
}
