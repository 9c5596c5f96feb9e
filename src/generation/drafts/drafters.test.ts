import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lookUp } from "./drafters.ts";

describe("lookUp", () => {
  it("gives what followed the place that is most like the end", () => {
    expect(lookUp([1, 2, 3, 4, 5, 9, 1, 2, 3], 3)).toEqual([4, 5, 9]);
    // The longer match, though the other one is nearer.
    expect(lookUp([7, 1, 2, 3, 8, 6, 2, 3, 9, 7, 1, 2, 3], 1)).toEqual([8]);
    // Of equals the nearer one.
    expect(lookUp([2, 3, 8, 2, 3, 9, 2, 3], 1)).toEqual([9]);
  });

  it("gives nothing where less than two ids are alike", () => {
    for (const ids of [[], [1], [1, 1], [1, 2, 3, 4], [5, 1, 2, 1]]) expect(lookUp(ids, 4)).toEqual([]);
  });

  it("goes on with a text that goes round", () => {
    expect(lookUp([1, 2, 3, 1, 2, 3, 1, 2], 7)).toEqual([3, 1, 2, 3, 1, 2, 3]);
    expect(lookUp([4, 4, 4], 3)).toEqual([4, 4, 4]);
  });

  it("gives as many as are asked for, all of them of the context", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { maxLength: 40 }), fc.nat(9), (ids, most) => {
        const found = lookUp(ids, most);
        expect([0, most]).toContain(found.length);
        expect(found.every((id) => ids.includes(id))).toBe(true);
      }),
    );
  });
});
