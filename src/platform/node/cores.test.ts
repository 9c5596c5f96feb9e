import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { describe, expect, it } from "vitest";
import { coresHere, type ReadText, usableProcessors } from "./cores.ts";

/** A machine: which processors share a core, those that the process is bound to, and its control groups. */
function machine(
  siblings: readonly string[],
  { bound = `0-${siblings.length - 1}`, files = {} }: { bound?: string; files?: Record<string, string> } = {},
): ReadText {
  const all: Record<string, string> = {
    "/proc/self/status": `Name:\tnode\nCpus_allowed_list:\t${bound}\n`,
    "/sys/devices/system/cpu/online": `0-${siblings.length - 1}\n`,
  };
  for (const [cpu, list] of siblings.entries())
    all[`/sys/devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`] = `${list}\n`;
  return (path) => ({ ...all, ...files })[path] ?? "";
}

const TWO = machine(["0", "1"]);
/** Four cores of two. */
const FOUR_OF_TWO = ["0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7"];
/** As Intel's, two fast cores of two and four others. */
const MIXED = ["0-1", "0-1", "2-3", "2-3", "4", "5", "6", "7"];

describe("cores", () => {
  it.each([
    ["two of one", TWO, 2, { usable: 2, ofMachine: 2 }],
    ["four of two", machine(FOUR_OF_TWO), 8, { usable: 4, ofMachine: 4 }],
    ["of two kinds", machine(MIXED), 8, { usable: 6, ofMachine: 6 }],
    ["some of them", machine(FOUR_OF_TWO, { bound: "0,2,4" }), 3, { usable: 2, ofMachine: 4 }],
    ["both halves of one", machine(FOUR_OF_TWO, { bound: "3,7" }), 2, { usable: 1, ofMachine: 4 }],
    ["more numbers than there are", machine(["0", "1"], { bound: "0-127" }), 2, { usable: 2, ofMachine: 2 }],
    ["a gap in the numbers", machine(FOUR_OF_TWO, { bound: "0-1,3" }), 3, { usable: 3, ofMachine: 4 }],
  ])("%s", (_, read, allowed, cores) => {
    expect(coresHere(allowed, read)).toEqual(cores);
    expect(usableProcessors(allowed, read)).toBe(allowed);
  });

  it("are not known where the system says nothing, or not of all", () => {
    expect(coresHere(8, () => "")).toEqual({ usable: undefined, ofMachine: undefined });
    const files = { "/sys/devices/system/cpu/online": "0-2\n" };
    expect(coresHere(3, machine(["0", "1"], { bound: "0-2", files })).usable).toBeUndefined();
  });
});

describe("limits of control groups", () => {
  const v2 = (files: Record<string, string>) => machine(FOUR_OF_TWO, { files });

  it.each([
    ["none", { "/sys/fs/cgroup/cpu.max": "max 100000\n" }, 4, 8],
    ["of a container", { "/sys/fs/cgroup/cpu.max": "200000 100000\n" }, 2, 2],
    ["more than there are cores", { "/sys/fs/cgroup/cpu.max": "600000 100000\n" }, 4, 6],
    ["one and a half", { "/sys/fs/cgroup/cpu.max": "150000 100000\n" }, 1, 1],
    ["half of one", { "/sys/fs/cgroup/cpu.max": "50000 100000\n" }, 1, 1],
    [
      "of a group that this one is in",
      {
        "/proc/self/cgroup": "0::/a.slice/b.service\n",
        "/sys/fs/cgroup/a.slice/cpu.max": "300000 100000\n",
        "/sys/fs/cgroup/a.slice/b.service/cpu.max": "max 100000\n",
      },
      3,
      3,
    ],
    [
      "of the first version",
      {
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
        "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
      },
      2,
      2,
    ],
    [
      "none of the first version",
      { "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n" },
      4,
      8,
    ],
  ])("%s", (_, files, cores, processors) => {
    expect(coresHere(8, v2(files))).toEqual({ usable: cores, ofMachine: 4 });
    expect(usableProcessors(8, v2(files))).toBe(processors);
  });
});

it("knows this machine", () => {
  const processors = usableProcessors();
  expect(processors).toBeGreaterThan(0);
  expect(processors).toBeLessThanOrEqual(availableParallelism());
  const { usable: cores } = coresHere();
  if (cores !== undefined) expect(cores).toBeLessThanOrEqual(processors);
  expect(cores !== undefined || process.platform !== "linux" || !existsSync("/sys/devices/system/cpu")).toBe(
    true,
  );
});
