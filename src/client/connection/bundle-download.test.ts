/** A bundle in parts: whole and in order, and for what its bytes are, however small its parts. */
import { describe, expect, it } from "vitest";
import { BundleDownload } from "./bundle-download.ts";

function download(bytes: number) {
  const fractions: number[] = [];
  let resolved: Uint8Array | undefined;
  const settling = { resolve: (whole: Uint8Array) => (resolved = whole), reject: () => {} };
  const made = new BundleDownload(bytes, (fraction) => fractions.push(fraction), settling);
  return { made, fractions, whole: () => resolved };
}
const part = (offset: number, data: readonly number[], last = false) =>
  ({ offset: BigInt(offset), data: Uint8Array.from(data), last }) as never;

describe("a bundle", () => {
  it("is handed over with its last part, and is a copy", () => {
    const { made, fractions, whole } = download(5);
    expect(made.part(part(0, [1, 2]))).toBe(false);
    expect(whole()).toBeUndefined();
    expect(made.part(part(2, [3, 4, 5], true))).toBe(true);
    expect(whole()).toEqual(Uint8Array.of(1, 2, 3, 4, 5));
    expect(fractions).toEqual([0.4, 1]);
  });

  it.each([
    ["another offset", part(1, [1])],
    ["nothing in it", part(0, [])],
    ["more than was said", part(0, [1, 2, 3, 4, 5, 6])],
    ["an end before the end", part(0, [1], true)],
    ["no end at the end", part(0, [1, 2, 3, 4, 5])],
  ])("with a part of %s is refused", (_, bad) => {
    const { made } = download(5);
    expect(() => made.part(bad)).toThrow(expect.objectContaining({ code: "bad_frame" }));
  });

  it("in parts of one byte is as good, and takes the memory of its bytes", () => {
    const bytes = 1_000_000;
    const { made, whole } = download(bytes);
    const data = Uint8Array.of(7);
    const before = process.memoryUsage();
    for (let i = 0; i < bytes; i++) made.part({ offset: BigInt(i), data, last: i === bytes - 1 } as never);
    const after = process.memoryUsage();
    expect(whole()?.length).toBe(bytes);
    expect(whole()?.every((byte) => byte === 7)).toBe(true);
    // A list of so many arrays takes more than 100 MB.
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(8 << 20);
  });
});
