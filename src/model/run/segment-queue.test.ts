import { describe, expect, it } from "vitest";
import type { Tensor } from "../../base/platform.ts";
import { KvCache } from "../kv-cache.ts";
import type { LoadedModel, LoadedSegment } from "./loaded-model.ts";
import { SegmentPass } from "./segment-pass.ts";
import { SegmentQueue } from "./segment-queue.ts";

const never = undefined;
const slots = ["ids", "y", "lora_a.x"];
const slotOf = new Map(slots.map((name, slot) => [name, slot]));
const lora = (entry: number): Tensor => ({ type: "float32", dims: [1, 1], data: Float32Array.of(entry) });
const LORA = lora(0);

function passOf(ids: readonly number[], given = LORA): SegmentPass {
  const model: LoadedModel = {
    ...{ segments: [], places: [], pairs: new Map(), deltas: undefined, slotOf },
    loras: new Map([["lora_a.x", given]]),
  };
  const cache = new KvCache({ layers: [], maxTokens: 99 }, 1);
  return new SegmentPass(model, cache, { ofStep: new Map(), free: new Map() }, { ids, firstRow: 0 });
}

/** y = 2·ids, two columns; notes the rows of each run. A run ends when it is let. */
function segmentOf(isByRow: boolean) {
  const runs: number[] = [];
  const ends: ((error?: Error) => void)[] = [];
  const session = {
    async run({ ids }: Readonly<Record<string, Tensor>>) {
      const rows = ids.dims[1];
      runs.push(rows);
      await new Promise<void>((resolve, reject) => ends.push((e) => (e ? reject(e) : resolve())));
      const data = Float32Array.from([...ids.data].flatMap((id) => [2 * Number(id), 0]));
      return { y: { type: "float32", dims: [1, rows, 2], data } as const };
    },
    dispose: async () => {},
  };
  const slot = (name: string) => ({ name, slot: slotOf.get(name)! });
  const segment: LoadedSegment = {
    ...{ session, isByRow, steps: [], release: [], kept: [], newRows: [], pastStates: [], newStates: [] },
    ...{ inputs: [slot("ids"), slot("lora_a.x")], outputs: [slot("y")], presents: [] },
  };
  return { segment, runs, end: (error?: Error) => ends.shift()!(error) };
}

const settled = () => new Promise((resolve) => setTimeout(resolve));
const y = (pass: SegmentPass) => [...pass.data(1)].filter((_, i) => i % 2 === 0);

describe("SegmentQueue", () => {
  it("runs what waits for the same segment at once, each with its own rows", async () => {
    const queue = new SegmentQueue({ atOnce: 1 });
    const { segment, runs, end } = segmentOf(true);
    const passes = [[1], [2], [3, 4, 5], [6]].map((ids) => passOf(ids));
    const done = Promise.all(passes.map((pass) => queue.run(segment, pass, never)));
    end();
    await settled();
    expect(runs).toEqual([1, 5]);
    end();
    const ms = await done;
    expect(passes.map(y)).toEqual([[2], [4], [6, 8, 10], [12]]);
    expect(ms[2]).toBeCloseTo(3 * ms[1]);
  });

  it.each(["feedsOf", "take"] as const)("fails a pass whose %s fails, and nobody else", async (part) => {
    const queue = new SegmentQueue({ atOnce: 1 });
    const { segment, runs, end } = segmentOf(true);
    const passes = [[1], [2], [3], [4, 5]].map((ids) => passOf(ids));
    passes[2][part] = () => {
      throw new RangeError("no memory for its cache");
    };
    const done = Promise.allSettled(passes.map((pass) => queue.run(segment, pass, never)));
    end();
    await settled();
    expect(runs).toEqual([1, part === "take" ? 4 : 3]);
    end();
    const statuses = (await done).map(({ status }) => status);
    expect(statuses).toEqual(["fulfilled", "fulfilled", "rejected", "fulfilled"]);
    expect([0, 1, 3].map((i) => y(passes[i]))).toEqual([[2], [4], [8, 10]]);
  });

  it("waits for those that are about to come, unless a pass is alone", async () => {
    let go = (): void => {};
    const afterEvents = () => new Promise<void>((resolve) => (go = resolve));
    const queue = new SegmentQueue({ atOnce: 1, afterEvents });
    const { segment, runs, end } = segmentOf(true);
    queue.enter();
    const single = queue.run(segment, passOf([1]), never);
    end();
    await single;
    queue.enter();
    const both = [passOf([1]), passOf([2])].map((pass) => queue.run(segment, pass, never));
    await settled();
    expect(runs).toEqual([1]);
    go();
    await settled();
    expect(runs).toEqual([1, 2]);
    end();
    await Promise.all(both);
  });

  it.each([
    ["does not make row after row", () => [segmentOf(false), passOf([2])] as const],
    ["would have too many rows", () => [segmentOf(true), passOf(Array(64).fill(2))] as const],
    ["is given another adapter", () => [segmentOf(true), passOf([2], lora(1))] as const],
  ])("runs apart what %s", async (_, make) => {
    const queue = new SegmentQueue({ atOnce: 1 });
    const [{ segment, runs, end }, other] = make();
    const passes = [passOf([9]), passOf([1]), other];
    const done = Promise.all(passes.map((pass) => queue.run(segment, pass, never)));
    for (const _ of passes) {
      end();
      await settled();
    }
    await done;
    expect(runs).toEqual([1, 1, other.tokens]);
    expect(passes.map(y)).toEqual([[18], [2], other.ids.map((id) => 2 * id)]);
  });

  it("forgets who is stopped while it waits, and runs on for the others", async () => {
    const queue = new SegmentQueue({ atOnce: 1 });
    const { segment, runs, end } = segmentOf(true);
    const stop = new AbortController();
    const first = queue.run(segment, passOf([1]), never);
    const stopped = queue.run(segment, passOf([2]), stop.signal);
    const last = passOf([3]);
    const others = [first, queue.run(segment, last, never)];
    stop.abort();
    await expect(stopped).rejects.toMatchObject({ code: "aborted" });
    end();
    await settled();
    end();
    await Promise.all(others);
    expect(runs).toEqual([1, 1]);
    expect(y(last)).toEqual([6]);
  });

  it("tells all whose run fails, and goes on", async () => {
    const queue = new SegmentQueue({ atOnce: 1 });
    const { segment, end } = segmentOf(true);
    const first = queue.run(segment, passOf([1]), never);
    const both = [passOf([2]), passOf([3])].map((pass) => queue.run(segment, pass, never));
    const failed = Promise.allSettled(both);
    end();
    await first;
    await settled();
    end(new Error("gone"));
    for (const result of await failed) expect(result).toMatchObject({ reason: { message: "gone" } });
    const next = passOf([4]);
    const after = queue.run(segment, next, never);
    end();
    await after;
    expect(y(next)).toEqual([8]);
  });
});
