import { describe, expect, it } from "vitest";
import { transposedProduct } from "../../test/oracle/ring.ts";
import { conjugate, invert, isUnit, multiplyNegacyclic } from "./plain-ring.ts";
import { randomWords } from "./random-numbers.ts";
import { seededSource } from "./seeded-adapter.ts";

const random = seededSource(5);

describe("plain ring", () => {
  it("X^(N-1)·X = -1", () => {
    const x = Uint32Array.of(0, 1, 0, 0);
    const last = Uint32Array.of(0, 0, 0, 1);
    expect(Array.from(multiplyNegacyclic(x, last))).toEqual([2 ** 32 - 1, 0, 0, 0]);
  });

  it.each([1, 2, 64, 512])("inverts units of degree %i and refuses others", (n) => {
    const a = randomWords(random, n);
    if (!isUnit(a)) a[0]++;
    const one = new Uint32Array(n);
    one[0] = 1;
    expect(multiplyNegacyclic(a, invert(a))).toEqual(one);
    a[0]++;
    expect(() => invert(a)).toThrow(RangeError);
  });

  it("a row times the matrix of a is the product with a(1/X)", () => {
    const a = randomWords(random, 2048);
    const row = Int16Array.from(randomWords(random, 2048), (word) => (word % 1024) - 512);
    expect(multiplyNegacyclic(row, conjugate(a))).toEqual(transposedProduct(a, row));
  });
});
