import { describe, expect, it } from "vitest";
import { afterTimer, inSlices } from "./slices.ts";

describe("inSlices", () => {
  /** In which slice each step ran, of steps of 3 ms, where others take `othersMs` between two slices. */
  async function slicesOf(steps: number, othersMs: number): Promise<number[]> {
    let [clock, slice] = [0, 0];
    const slices: number[] = [];
    const step = () => {
      clock += 3;
      return slices.push(slice) < steps;
    };
    const others = async () => {
      clock += othersMs;
      slice++;
    };
    await inSlices(step, others, () => clock);
    return slices;
  }

  it("takes one step at a time where little else is to do", async () => {
    expect(await slicesOf(4, 0)).toEqual([1, 2, 3, 4]);
    expect(await slicesOf(4, 6)).toEqual([1, 2, 3, 4]);
  });

  it("takes half the time of others where there is much", async () => {
    expect(await slicesOf(7, 18)).toEqual([1, 1, 1, 2, 2, 2, 3]);
    expect(await slicesOf(3, 1_000)).toEqual([1, 1, 1]);
  });

  it("rejects with what a step throws, and takes no step more", async () => {
    let taken = 0;
    const step = () => {
      if (++taken === 3) throw new Error("bad");
      return true;
    };
    await expect(inSlices(step, afterTimer)).rejects.toThrow("bad");
    expect(taken).toBe(3);
  });
});
