/** Products of rounded weights on threads of a real browser: as on one, and as ONNX Runtime computes them. */
import { afterEach, describe, expect, it } from "vitest";
import type { RoundedWeights } from "../../../src/base/platform.ts";
import { ProductTeam, type TeamMatrix } from "../../../src/platform/web/products/team.ts";
import { rowBytes } from "../../../src/products/held-matrix.ts";
import { hasRelaxedSimd, ProductMemory } from "../../../src/products/product-memory.ts";

interface Ended {
  terminate(): void;
}
const page = globalThis as unknown as {
  Worker: new (...args: never[]) => Ended;
  SharedArrayBuffer: new (length: number) => SharedArrayBuffer;
};
const held: [ProductTeam, TeamMatrix][] = [];
afterEach(async () => {
  for (const [team, matrix] of held.splice(0)) await team.release(matrix);
});

/** Each row's bytes depend on its number alone. */
function weights(rows: number, columns: number, hasZeroPoints: boolean): RoundedWeights {
  const shape = { rows, columns, bits: 4, block: 32 } as const;
  const of = rowBytes(shape);
  const bytesOf = (size: number, factor: number) => async (first: number, count: number) =>
    Uint8Array.from({ length: count * size }, (_, i) => {
      const [row, at] = [first + Math.floor(i / size), i % size];
      return Math.imul(row * 7919 + at * factor, 2654435761) >>> 24;
    });
  const scales = async (first: number, count: number) =>
    new Uint8Array(
      Float32Array.from(
        { length: (count * of.scales) / 4 },
        (_, i) => (((first * of.scales) / 4 + i) % 17) / 100,
      ).buffer,
    );
  const codes = bytesOf(of.codes, 31);
  return { ...shape, codes, scales, ...(hasZeroPoints ? { zeroPoints: bytesOf(of.zeroPoints, 13) } : {}) };
}

const vectors = (tokens: number, columns: number): Float32Array =>
  Float32Array.from({ length: tokens * columns }, (_, i) => Math.sin(i * i));

async function hold(team: ProductTeam, matrix: RoundedWeights, threads: number): Promise<TeamMatrix> {
  const made = await team.hold(matrix, threads);
  held.push([team, made]);
  return made;
}

describe("products on threads of a page", () => {
  it.each([
    [1, 1000, 640, false],
    [3, 1001, 640, true],
    // More than the memory that threads share takes at a time.
    [150, 300, 8192, false],
  ])(
    "of %i vectors, %i by %i, zero points %o: three threads give what one gives",
    async (tokens, rows, columns, has) => {
      const [team, alone] = [new ProductTeam(), new ProductTeam()];
      const matrix = weights(rows, columns, has);
      const [shared, single] = [await hold(team, matrix, 3), await hold(alone, matrix, 1)];
      expect(shared.helpers).toHaveLength(2);
      const x = vectors(tokens, columns);
      const want = alone.multiply(single, x, tokens);
      expect(team.multiply(shared, x, tokens)).toEqual(want);
      expect(want.some((entry) => entry !== 0)).toBe(true);
    },
  );

  it("goes on while other matrices come and go, and after the last one has gone", async () => {
    const team = new ProductTeam();
    const alone = new ProductTeam();
    const x = vectors(2, 640);
    const want = alone.multiply(await hold(alone, weights(700, 640, false), 1), x, 2);
    for (let round = 0; round < 3; round++) {
      const first = await team.hold(weights(700, 640, false), 2);
      const more = [1, 2, 3].map((threads) => team.hold(weights(500 + threads, 640, true), threads));
      for (let i = 0; i < 20; i++) {
        expect(team.multiply(first, x, 2)).toEqual(want);
        await new Promise((resolve) => setTimeout(resolve, 0));
      }
      const others = await Promise.all(more);
      for (const each of others) await team.release(each);
      expect(team.multiply(first, x, 2)).toEqual(want);
      await team.release(first);
    }
  });

  it("says so where a matrix does not fit, and holds the next one", async () => {
    const team = new ProductTeam();
    const large = { ...weights(10, 640, false), rows: 2 ** 27 };
    await expect(team.hold(large, 2)).rejects.toThrow(RangeError);
    const x = vectors(1, 640);
    expect(team.multiply(await hold(team, weights(700, 640, false), 2), x, 1)).toHaveLength(700);
  });

  it("a thread that is ended from outside: the model fails, and its memory can be given back", async () => {
    const begun: Ended[] = [];
    const { Worker } = page;
    page.Worker = class extends Worker {
      constructor(...args: never[]) {
        super(...args);
        begun.push(this);
      }
    };
    const team = new ProductTeam(300);
    try {
      const matrices = [
        await team.hold(weights(700, 640, false), 3),
        await team.hold(weights(64, 64, false), 3),
      ];
      const x = vectors(1, 640);
      expect(team.multiply(matrices[0], x, 1)).toHaveLength(700);
      expect(begun).toHaveLength(2);
      begun[1].terminate();
      const lost = expect.objectContaining({
        code: "io_failed",
        message: "a thread for products failed: it has ended, or does not answer any more",
      });
      // It ends as soon as the browser has come to it, in the middle of an order or between two.
      const untilLost = async () => {
        for (;;) {
          team.multiply(matrices[0], x, 1);
          await new Promise((resolve) => setTimeout(resolve));
        }
      };
      await expect(untilLost()).rejects.toEqual(lost);
      expect(() => team.multiply(matrices[0], x, 1)).toThrow(/does not answer any more/);
      await expect(team.hold(weights(700, 640, false), 3)).rejects.toEqual(lost);
      // What is one thread's is computed on.
      expect(team.multiply(matrices[1], vectors(1, 64), 1)).toHaveLength(64);
      for (const matrix of matrices) await team.release(matrix);
      expect(team.multiply(await hold(team, weights(700, 640, false), 3), x, 1)).toHaveLength(700);
    } finally {
      page.Worker = Worker;
    }
  });

  it("leaves nothing of x and y in the memory that threads share", async () => {
    const shared: SharedArrayBuffer[] = [];
    const Shared = page.SharedArrayBuffer;
    page.SharedArrayBuffer = class extends Shared {
      constructor(length: number) {
        super(length);
        shared.push(this);
      }
    };
    try {
      const team = new ProductTeam();
      const matrix = await hold(team, weights(700, 640, true), 2);
      expect(team.multiply(matrix, vectors(5, 640), 5).some((entry) => entry !== 0)).toBe(true);
      expect(shared).toHaveLength(1);
      // Behind the words that threads count in.
      expect(new Uint8Array(shared[0], 64).every((byte) => byte === 0)).toBe(true);
    } finally {
      page.SharedArrayBuffer = Shared;
    }
  });

  it.each([false, true])("gives the same with relaxed SIMD and without, zero points %o", async (has) => {
    expect(hasRelaxedSimd()).toBe(true);
    const matrix = weights(37, 640, has);
    const [wide, without] = [true, false].map((relaxed) => new ProductMemory(relaxed).place(matrix, has));
    for (const part of ["codes", "scales", ...(has ? (["zeroPoints"] as const) : [])] as const) {
      const bytes = await matrix[part]!(0, 37);
      for (const held of [wide, without]) held.write(part, 0, bytes);
    }
    // Four at a time, and one.
    const x = vectors(7, 640);
    const [got, want] = [new Float32Array(7 * 37), new Float32Array(7 * 37)];
    wide.multiply(x, 7, got, 37, 0);
    without.multiply(x, 7, want, 37, 0);
    const largest = Math.max(...want.map(Math.abs));
    for (const [i, entry] of want.entries()) expect(Math.abs(got[i] - entry)).toBeLessThan(1e-5 * largest);
    expect(largest).toBeGreaterThan(0);
  });

  it("small matrices are one thread's", async () => {
    expect((await hold(new ProductTeam(), weights(64, 64, false), 4)).helpers).toEqual([]);
  });
});
