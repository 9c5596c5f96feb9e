/** Workers are started when needed, work at the same time, and one that dies fails what it was at and nothing else. */
import { afterEach, expect, it } from "vitest";
import { WorkerPool } from "./worker-pool.ts";

/** Answers numbers with their sum with what it was started with, and what it was told; "die" and "throw" end it; "wait" takes a while. */
const SCRIPT = new URL(
  `data:text/javascript,${encodeURIComponent(`
    import { parentPort, workerData } from "node:worker_threads";
    let told = 0;
    parentPort.on("message", (request) => {
      if (request === "die") process.exit(1);
      if (request === "throw") throw new Error("secret-detail");
      if (request === "wait") return setTimeout(() => parentPort.postMessage("waited"), 100);
      if (request.add) return (told += request.add);
      parentPort.postMessage(request + workerData + told);
    });
  `)}`,
);
const pools: WorkerPool[] = [];
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()));
});

function make(size: number) {
  const counts = { started: 0, died: 0 };
  const start = () => ({ data: 10 * ++counts.started, transfer: [] });
  const pool = new WorkerPool(SCRIPT, size, start, () => counts.died++);
  pools.push(pool);
  return { pool, counts };
}

it("starts none before there is work, keeps those that it has, starts more for work at the same time", async () => {
  const { pool, counts } = make(2);
  expect(counts.started).toBe(0);
  expect(await pool.run(1, [])).toBe(11);
  expect(await pool.run(2, [])).toBe(12);
  const both = [pool.run("wait", []), pool.run(3, [])];
  expect(() => pool.run(4, [])).toThrow(RangeError);
  expect(await Promise.all(both)).toEqual(["waited", 23]);
  expect(counts).toEqual({ started: 2, died: 0 });
});

it("tells all that are there, behind what each was given", async () => {
  const { pool, counts } = make(2);
  pool.tell({ add: 1000 });
  expect(counts.started).toBe(0);
  const both = [pool.run(1, []), pool.run(2, [])];
  pool.tell({ add: 500 });
  expect(await Promise.all(both)).toEqual([11, 22]);
  expect((await Promise.all([pool.run(1, []), pool.run(2, [])])).sort()).toEqual([511, 522]);
});

it.each(["die", "throw"])(
  "rejects what a worker was at when it came to %s, and starts another",
  async (how) => {
    const { pool, counts } = make(1);
    await expect(pool.run(how, [])).rejects.toThrow(/^a worker has died$/);
    expect(counts).toEqual({ started: 1, died: 1 });
    expect(await pool.run(1, [])).toBe(21);
  },
);

it("closed, rejects what is open and takes nothing more", async () => {
  const { pool, counts } = make(1);
  const open = pool.run("wait", []);
  const rejected = expect(open).rejects.toThrow();
  await pool.close();
  await rejected;
  expect(counts.died).toBe(0);
  expect(() => pool.run(1, [])).toThrow(RangeError);
});
