import { describe, expect, it } from "vitest";
import { toFloat16, widenF16 } from "./float16.ts";

describe("toFloat16", () => {
  it("takes back every binary16 number", () => {
    const halves = Uint16Array.from({ length: 65536 }, (_, i) => i).filter(
      (half) => (half & 0x7fff) <= 0x7c00,
    );
    expect(toFloat16(widenF16(halves))).toEqual(halves);
  });

  it("rounds to nearest, ties to even, at every neighbour pair", () => {
    for (let half = 0; half < 0x7bff; half++) {
      const [low, high] = widenF16(Uint16Array.of(half, half + 1));
      const middle = (low + high) / 2;
      const inside = (high - low) / 1024;
      const even = half % 2 === 0 ? half : half + 1;
      const got = toFloat16([middle, middle - inside, middle + inside, -middle]);
      if (got[0] !== even || got[1] !== half || got[2] !== half + 1 || got[3] !== (even | 0x8000)) {
        expect.fail(`between ${low} and ${high}: ${got}`);
      }
    }
  });

  it("overflows to infinity from 65520 on and keeps NaN", () => {
    expect([...toFloat16([65519, 65520, 1e30, -Infinity, Number.NaN])]).toEqual([
      0x7bff, 0x7c00, 0x7c00, 0xfc00, 0x7e00,
    ]);
  });
});
