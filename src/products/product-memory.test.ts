import { describe, expect, it } from "vitest";
import { randomIntegers, randomWords, seededRandom } from "../../test/oracle/seeded-random.ts";
import { bytesOf } from "../base/bytes.ts";
import type { RoundedShape } from "../base/platform.ts";
import { CONTRIB, OnnxGraph } from "../model/graph/onnx-graph.ts";
import { nodeTensorRuntime } from "../platform/node/tensors.ts";
import { type HeldMatrix, type MatrixPart, rowBytes } from "./held-matrix.ts";
import { ProductMemory } from "./product-memory.ts";

interface Parts extends Record<MatrixPart, Uint8Array> {
  readonly shape: RoundedShape;
}

const random = seededRandom("product-memory.test");
const bytes = (count: number): Uint8Array => {
  const made = new Uint8Array(count);
  random(made);
  return made;
};
/** In (−1, 1) */
const floats = (count: number): Float32Array =>
  Float32Array.from(randomWords(random, count), (word) => word / 2 ** 31 - 1);

function randomMatrix(shape: RoundedShape): Parts {
  const of = rowBytes(shape);
  const scales = floats((shape.rows * of.scales) / 4);
  return {
    shape,
    codes: bytes(shape.rows * of.codes),
    scales: bytesOf(scales),
    zeroPoints: bytes(shape.rows * of.zeroPoints),
  };
}

function hold(memory: ProductMemory, matrix: Parts, hasZeroPoints: boolean): HeldMatrix {
  const held = memory.place(matrix.shape, hasZeroPoints);
  for (const part of ["codes", "scales", ...(hasZeroPoints ? (["zeroPoints"] as const) : [])] as const) {
    const half = matrix[part].length >> 1;
    held.write(part, half, matrix[part].subarray(half));
    held.write(part, 0, matrix[part].subarray(0, half));
  }
  return held;
}

/** W from its definition, (rows, columns). */
function weightsOf({ shape, codes, scales, zeroPoints }: Parts, hasZeroPoints: boolean): Float64Array {
  const { rows, columns, bits, block } = shape;
  const of = rowBytes(shape);
  const scaleOf = new Float32Array(scales.buffer);
  const codeAt = (from: Uint8Array, row: number, i: number) =>
    bits === 8 ? from[row + i] : (from[row + (i >> 1)] >> (4 * (i & 1))) & 15;
  return Float64Array.from({ length: rows * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    const b = Math.floor(column / block);
    const zero = hasZeroPoints ? codeAt(zeroPoints, row * of.zeroPoints, b) : 2 ** (bits - 1);
    return scaleOf[(row * of.scales) / 4 + b] * (codeAt(codes, row * of.codes, column) - zero);
  });
}

function product(weights: Float64Array, x: Float32Array, columns: number): Float64Array {
  const [rows, tokens] = [weights.length / columns, x.length / columns];
  return Float64Array.from({ length: tokens * rows }, (_, i) => {
    const [token, row] = [Math.floor(i / rows), i % rows];
    let sum = 0;
    for (let c = 0; c < columns; c++) sum += weights[row * columns + c] * x[token * columns + c];
    return sum;
  });
}

function distance(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let [error, size] = [0, 0];
  for (let i = 0; i < want.length; i++) {
    error += (got[i] - want[i]) ** 2;
    size += want[i] ** 2;
  }
  return Math.sqrt(error / size);
}

const SHAPES: RoundedShape[] = ([4, 8] as const).flatMap((bits) => [
  { rows: 37, columns: 32, bits, block: 32 },
  { rows: 5, columns: 200, bits, block: 64 },
  { rows: 18, columns: 896, bits, block: 128 },
  { rows: 3, columns: 1000, bits, block: 32 },
]);

describe.each(SHAPES)("a product of %o", (shape) => {
  it.each([
    [1, false],
    [1, true],
    [4, true],
    [7, false],
    [130, true],
  ])("of %i vectors, zero points %o: exact where x is what it is rounded to", (tokens, hasZeroPoints) => {
    const matrix = randomMatrix(shape);
    const held = hold(new ProductMemory(), matrix, hasZeroPoints);
    const { rows, columns, block } = shape;
    const x = Float32Array.from(randomIntegers(random, tokens * columns, -127, 127));
    for (let token = 0; token < tokens; token++)
      for (let at = 0; at < columns; at += block) x[token * columns + at] = at % 3 ? 127 : -127;
    const stride = rows + 3;
    const y = new Float32Array(tokens * stride).fill(7);
    held.multiply(x, tokens, y, stride, 2);
    const got = Float32Array.from(
      { length: tokens * rows },
      (_, i) => y[Math.floor(i / rows) * stride + 2 + (i % rows)],
    );
    expect(distance(got, product(weightsOf(matrix, hasZeroPoints), x, columns))).toBeLessThan(1e-6);
    // Nothing beside the rows is written to.
    expect(y.filter((_, i) => i % stride < 2 || i % stride >= 2 + rows).every((each) => each === 7)).toBe(
      true,
    );
  });

  it("rounds x as ONNX Runtime does", async () => {
    const matrix = randomMatrix(shape);
    const { rows, columns, bits, block } = shape;
    const tokens = 6;
    const x = floats(tokens * columns);
    const got = new Float32Array(tokens * rows);
    hold(new ProductMemory(), matrix, true).multiply(x, tokens, got, rows, 0);
    const graph = new OnnxGraph("g");
    graph.input({ name: "x", type: "float32", dims: [tokens, columns] });
    const of = rowBytes(shape);
    const blocks = of.scales / 4;
    const operands = [
      graph.inlineWeight([rows, blocks, of.codes / blocks], "uint8", matrix.codes),
      graph.inlineWeight([rows, blocks], "float32", matrix.scales),
      graph.inlineWeight([rows, of.zeroPoints], "uint8", matrix.zeroPoints),
    ];
    graph.node("MatMulNBits", ["x", ...operands], ["y"], {
      domain: CONTRIB,
      attributes: { K: columns, N: rows, bits, block_size: block, accuracy_level: 4 },
    });
    graph.output({ name: "y", type: "float32", dims: [tokens, rows] });
    const session = await nodeTensorRuntime().createSession(graph.encode());
    const { y } = await session.run({ x: { type: "float32", dims: [tokens, columns], data: x } });
    expect(distance(got, y.data as Float32Array)).toBeLessThan(1e-2);
    await session.dispose();
  });
});

describe("ProductMemory", () => {
  const shape: RoundedShape = { rows: 8, columns: 64, bits: 4, block: 32 };

  it("gives what is not a number on, and zeros for zeros", () => {
    const held = hold(new ProductMemory(), randomMatrix(shape), false);
    const y = new Float32Array(16);
    const x = new Float32Array(128);
    x[70] = Number.NaN;
    held.multiply(x, 2, y, 8, 0);
    expect([...y.subarray(0, 8)].map(Math.abs)).toEqual(Array(8).fill(0));
    expect(y.subarray(8).every(Number.isNaN)).toBe(true);
  });

  it("leaves nothing of x and y in the kernels' memory, and says when it has done a piece", () => {
    interface Instance {
      readonly exports: { readonly memory: { readonly buffer: ArrayBuffer } };
    }
    const { WebAssembly } = globalThis as unknown as {
      WebAssembly: { Instance: new (of: object) => Instance };
    };
    const { Instance } = WebAssembly;
    const made: Instance[] = [];
    WebAssembly.Instance = class extends Instance {
      constructor(of: object) {
        super(of);
        made.push(this);
      }
    };
    try {
      const held = hold(new ProductMemory(), randomMatrix({ ...shape, rows: 40 }), false);
      const [x, y] = [floats(70 * 64), new Float32Array(70 * 40)];
      let pieces = 0;
      held.multiply(x, 70, y, 40, 0, () => pieces++);
      expect(pieces).toBe(2);
      const memory = Buffer.from(made[0].exports.memory.buffer);
      for (const array of [x, y]) {
        for (const at of [0, 4, array.length - 8])
          expect(memory.indexOf(bytesOf(array.slice(at, at + 4)))).toBe(-1);
      }
    } finally {
      WebAssembly.Instance = Instance;
    }
  });

  it("lets memory go with the last matrix that lies in it", () => {
    const memory = new ProductMemory();
    const [one, two] = [1, 2].map(() => hold(memory, randomMatrix(shape), false));
    one.release();
    one.release();
    expect(memory.isEmpty).toBe(false);
    two.release();
    expect(memory.isEmpty).toBe(true);
  });

  it("refuses bytes beyond a matrix's part, and vectors that are too short", () => {
    const memory = new ProductMemory();
    const shape = { rows: 3, columns: 32, bits: 4, block: 32 } as const;
    const held = memory.place(shape, false);
    const size = 3 * rowBytes(shape).codes;
    expect(() => held.write("codes", 0, new Uint8Array(size + 1))).toThrow(RangeError);
    expect(() => held.write("codes", 1, new Uint8Array(size))).toThrow(RangeError);
    expect(() => held.write("zeroPoints", 0, new Uint8Array(1))).toThrow(RangeError);
    held.write("codes", 0, new Uint8Array(size));
    const y = new Float32Array(6);
    for (const [x, tokens, out] of [
      [new Float32Array(63), 2, y],
      [new Float32Array(64), 1.5, y],
      [new Float32Array(64), 2, y.subarray(1)],
    ] as const) {
      expect(() => held.multiply(x, tokens, out, 3, 0)).toThrow(RangeError);
    }
    held.multiply(new Float32Array(64), 2, y, 3, 0);
  });

  it("refuses rows that are too long, and more than there can be", () => {
    const memory = new ProductMemory();
    expect(() => memory.place({ ...shape, columns: 2 ** 20 }, false)).toThrow(/too long/);
    expect(() => memory.place({ ...shape, rows: 2 ** 28 }, false)).toThrow(RangeError);
    expect(memory.isEmpty).toBe(true);
  });
});

it("compiles nothing where it is imported, and its kernels once where something is multiplied", async () => {
  const compiled: number[] = [];
  // Neither Node's types nor the universal ones have all of it.
  const wasm = Reflect.get(globalThis, "WebAssembly") as { Module: new (bytes: Uint8Array) => object };
  const { Module } = wasm;
  wasm.Module = class extends Module {
    constructor(bytes: Uint8Array) {
      super(bytes);
      compiled.push(bytes.byteLength);
    }
  };
  try {
    // Another instance of the module than the one above.
    const path = "./product-memory.ts?again";
    const again = (await import(path)) as typeof import("./product-memory.ts");
    expect(compiled).toEqual([]);
    for (let i = 0; i < 2; i++) new again.ProductMemory();
    // The relaxed ones once, or what stands for them where the engine has none.
    expect(compiled.length).toBe(again.hasRelaxedSimd() ? 1 : 2);
  } finally {
    wasm.Module = Module;
  }
});
