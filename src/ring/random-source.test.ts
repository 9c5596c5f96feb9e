import { expect, it } from "vitest";
import { systemRandom } from "./random-source.ts";

it("fills more than one quota, to the last byte, and differently each time", () => {
  const a = new Uint8Array(3 * 65536 + 5);
  const b = new Uint8Array(a.length);
  systemRandom(a);
  systemRandom(b);
  expect(a).not.toEqual(b);
  for (const bytes of [a, b]) {
    expect(bytes.subarray(0, 64).some((byte) => byte !== 0)).toBe(true);
    expect(bytes.subarray(-64).some((byte) => byte !== 0)).toBe(true);
    const mean = bytes.reduce((sum, byte) => sum + byte, 0) / bytes.length;
    expect(Math.abs(mean - 127.5)).toBeLessThan(2); // σ of the mean is 0.17
  }
});
