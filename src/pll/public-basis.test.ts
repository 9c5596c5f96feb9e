import { describe, expect, it } from "vitest";
import { widenF16 } from "../base/float16.ts";
import { type Address, Kernels } from "../ring/kernels.ts";
import { PublicBasis } from "./public-basis.ts";

/** Entries that binary16 has, of very different sizes. */
function entries(count: number, seed: number): Float32Array {
  const halves = Uint16Array.from({ length: count }, (_, i) => {
    const word = Math.imul(i + 1, 0x9e3779b1 + 2 * seed) >>> 16;
    return (word & 0x8000) | (word % 0x7c00);
  });
  return widenF16(halves);
}

function product(columns: Float32Array, y: Float32Array, out: number): Float64Array {
  const sum = new Float64Array(out);
  for (const [r, factor] of y.entries()) {
    for (let i = 0; i < out; i++) sum[i] += factor * columns[r * out + i];
  }
  return sum;
}

/** f32 sums of terms of these sizes. */
function near(got: ArrayLike<number>, exact: Float64Array, columns: Float32Array, y: Float32Array): boolean {
  const sizes = product(columns.map(Math.abs), y.map(Math.abs), exact.length);
  return exact.every((value, i) => Math.abs(got[i] - value) <= 2 ** -21 * sizes[i]);
}

describe("PublicBasis", () => {
  it("holds binary16 entries exactly, and gives them back", () => {
    const columns = entries(3 * 21, 1);
    expect(new PublicBasis(Kernels.load(), columns, 21, 3).columns()).toEqual(columns);
  });

  it.each([1, 2, 4, 8, 9, 27])("B′·y + C·z of %i vectors is each one's", (vectors) => {
    const kernels = Kernels.load();
    const [out, rows, more] = [37, 3, 5];
    const [b, c] = [entries(rows * out, 2), entries(more * out, 3)];
    const [basis, other] = [new PublicBasis(kernels, b, out, rows), new PublicBasis(kernels, c, out, more)];
    // Rows of other modules stand between those of this one.
    const stride = 7;
    const y = Float32Array.from({ length: vectors * stride }, (_, i) => Math.sin(i + 1));
    const z = Float32Array.from({ length: vectors * more }, (_, i) => Math.cos(i + 1));
    const delta = new Float32Array(vectors * out);
    basis.apply({ y: y.subarray(2), stride }, delta, vectors, { basis: other, y: z, stride: more });
    for (let v = 0; v < vectors; v++) {
      const own = y.slice(v * stride + 2, v * stride + 2 + rows);
      const added = z.slice(v * more, (v + 1) * more);
      const first = product(b, own, out);
      const exact = product(c, added, out).map((value, i) => value + first[i]);
      const all = Float32Array.from([...b, ...c]);
      const got = delta.subarray(v * out, (v + 1) * out);
      expect(near(got, exact, all, Float32Array.from([...own, ...added]))).toBe(true);
    }
  });

  it("rounds what binary16 has not, and scales what is too large for it", () => {
    const kernels = Kernels.load();
    const columns = Float32Array.of(1e6, -3e7, 0.25, 4e7);
    const held = new PublicBasis(kernels, columns, 4, 1).columns();
    for (const [i, entry] of columns.entries())
      expect(Math.abs(held[i] - entry)).toBeLessThanOrEqual(Math.abs(entry) * 2 ** -11);
    const delta = new Float32Array(4);
    new PublicBasis(kernels, columns, 4, 1).apply(Float32Array.of(2), delta);
    expect(delta).toEqual(held.map((entry) => 2 * entry));
    expect(() => new PublicBasis(kernels, Float32Array.of(Number.NaN), 1, 1)).toThrow(RangeError);
  });

  it("keeps nothing of the vectors once it is wiped", () => {
    const kernels = Kernels.load();
    const basis = new PublicBasis(kernels, new Float32Array(64).fill(1), 64, 1);
    const all = (): Float32Array => kernels.floats(0 as Address, kernels.allocate(16) / 4);
    const delta = new Float32Array(8 * 64);
    basis.apply({ y: new Float32Array(8).fill(12345), stride: 1 }, delta, 8);
    expect([...delta]).toEqual(new Array(8 * 64).fill(12345));
    expect(all().includes(12345)).toBe(true);
    basis.wipe();
    expect(all().includes(12345)).toBe(false);
  });

  it("refuses wrong lengths", () => {
    const kernels = Kernels.load();
    const basis = new PublicBasis(kernels, new Float32Array(32), 16, 2);
    expect(() => basis.apply(new Float32Array(1), new Float32Array(16))).toThrow(RangeError);
    expect(() => basis.apply(new Float32Array(2), new Float32Array(15))).toThrow(RangeError);
    expect(() => basis.apply({ y: new Float32Array(3), stride: 2 }, new Float32Array(32), 2)).toThrow(
      RangeError,
    );
    const wider = new PublicBasis(kernels, new Float32Array(64), 32, 2);
    const more = { basis: wider, y: new Float32Array(2), stride: 2 };
    expect(() => basis.apply(new Float32Array(2), new Float32Array(16), 1, more)).toThrow(RangeError);
  });
});
