/** How much memory this process could still take. */
import { readFile } from "node:fs/promises";
import { freemem, totalmem } from "node:os";
import { groupFolders } from "./control-groups.ts";

/**
 * Bytes. Linux: what the system counts as available, and what is left of the limits of control groups, whose page
 * cache can be given up. Windows: what is free. Elsewhere (macOS counts what it could give up as used): all there is.
 */
export async function availableMemory(): Promise<number> {
  if (process.platform === "win32") return freemem();
  if (process.platform !== "linux") return totalmem();
  const system = (await fieldsOf("/proc/meminfo")).get("MemAvailable:");
  const limits = await Promise.all([cgroupV2(), cgroupV1()]);
  return Math.min(system === undefined ? freemem() : 1024 * system, ...limits);
}

async function cgroupV2(): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (const dir of groupFolders(await textOf("/proc/self/cgroup"))) {
    const max = Number.parseInt(await textOf(`${dir}/memory.max`), 10);
    const current = Number.parseInt(await textOf(`${dir}/memory.current`), 10);
    const cached = (await fieldsOf(`${dir}/memory.stat`)).get("inactive_file") ?? 0;
    if (Number.isFinite(max - current)) least = Math.min(least, max - current + cached);
  }
  return Math.max(0, least);
}

async function cgroupV1(): Promise<number> {
  const dir = "/sys/fs/cgroup/memory";
  const max = Number.parseInt(await textOf(`${dir}/memory.limit_in_bytes`), 10);
  const current = Number.parseInt(await textOf(`${dir}/memory.usage_in_bytes`), 10);
  const cached = (await fieldsOf(`${dir}/memory.stat`)).get("total_inactive_file") ?? 0;
  return Number.isFinite(max - current) ? Math.max(0, max - current + cached) : Number.POSITIVE_INFINITY;
}

/** Lines of a name and a number. */
async function fieldsOf(path: string): Promise<Map<string, number>> {
  const lines = (await textOf(path)).split("\n").map((line) => line.split(/\s+/));
  return new Map(lines.filter((parts) => parts.length > 1).map(([name, value]) => [name, Number(value)]));
}

/** "" where there is no such file. */
async function textOf(path: string): Promise<string> {
  return await readFile(path, "utf8").catch(() => "");
}
