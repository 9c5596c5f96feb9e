/** What a GGUF file's blocks become, where its rows or entries stand elsewhere than in transformers. */
import { describe, expect, it } from "vitest";
import { type BlockName, encodeBlocks } from "../../../tools/gguf/blocks.ts";
import { memoryFileTree } from "../memory-files.ts";
import { decodeBlocks } from "./decode-blocks.ts";
import { ConvertedTensors } from "./converted-tensors.ts";
import type { PlannedTensor } from "./planned-tensor.ts";
import { kindNamed, type ReadKind } from "./tensor-kinds.ts";

const [ROWS, WIDTH] = [300, 64];
const KINDS = ["Q4_0", "Q8_0", "Q4_1", "MXFP4"] as const satisfies readonly (BlockName & ReadKind)[];

function seeded(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** A file of two tensors, and what their blocks are. */
function fileOf(kinds: readonly (BlockName & ReadKind)[]) {
  const blocks = kinds.map((kind, i) => encodeBlocks(seeded(ROWS * WIDTH, i + 1), kind));
  const bytes = Buffer.concat(blocks);
  const values = kinds.map((kind, i) => decodeBlocks(kind, blocks[i]));
  const runs = kinds.map((kind, i) => ({
    source: {
      name: `t${i}`,
      path: "f",
      kind: kindNamed(kind),
      shape: [ROWS, WIDTH],
      offset: blocks.slice(0, i).reduce((sum, { length }) => sum + length, 0),
      bytes: blocks[i].length,
    },
    kind,
    first: 0,
    count: ROWS,
  }));
  return { tree: memoryFileTree({ f: bytes }), values, runs };
}

const BASIC = { name: "t", dtype: "F32", width: WIDTH, isTurned: false } as const;
/** Far from each other, so that no one stretch has them all. */
const scattered = (row: number) => (row * 77) % ROWS;

async function numbersOf(tensors: ConvertedTensors): Promise<Float32Array> {
  const bytes = await tensors.read(0, tensors.bytes);
  return new Float32Array(bytes.slice().buffer);
}

/** The numbers that blocks of 8 or 4 bits stand for. */
async function blocksOf(tensors: ConvertedTensors, first: number, count: number): Promise<Float32Array> {
  const { form, readRows } = tensors.infos.get("t")!.rounded!;
  const { codes, scales } = await readRows(first, count);
  return Float32Array.from({ length: count * WIDTH }, (_, i) => {
    const code = form.bits === 8 ? codes[i] : (codes[i >> 1] >> (4 * (i & 1))) & 15;
    return scales[i >> 5] * (code - 2 ** (form.bits - 1));
  });
}

function expectNear(got: Float32Array, want: Float32Array, isExact: boolean): void {
  expect(got.length).toBe(want.length);
  // A block of 8 bits is off by a step of its largest entry, 1/128, at most.
  const most = Math.max(...got.map((value, i) => Math.abs(value - want[i])));
  expect(most).toBeLessThanOrEqual(isExact ? 0 : 1 / 127);
}

describe.each(KINDS)("%s", (kind) => {
  const isExact = kind !== "Q4_1";

  it("rows in another order", async () => {
    const { tree, values, runs } = fileOf([kind]);
    const tensor: PlannedTensor = { ...BASIC, shape: [ROWS, WIDTH], runs, rowFrom: scattered };
    const want = Float32Array.from({ length: ROWS * WIDTH }, (_, i) => {
      return values[0][scattered(Math.floor(i / WIDTH)) * WIDTH + (i % WIDTH)];
    });
    const tensors = new ConvertedTensors(tree, "f", [tensor]);
    expect(await numbersOf(tensors)).toEqual(want);
    expectNear(await blocksOf(tensors, 0, ROWS), want, isExact);
    expectNear(await blocksOf(tensors, 7, 20), want.subarray(7 * WIDTH, 27 * WIDTH), isExact);
  });

  it("entries of a row in another order, whole blocks of them or not", async () => {
    for (const columnFrom of [
      (column: number) => (column + 32) % WIDTH,
      (column: number) => (column + 16) % WIDTH,
    ]) {
      const { tree, values, runs } = fileOf([kind]);
      const tensor: PlannedTensor = { ...BASIC, shape: [ROWS, WIDTH], runs, columnFrom };
      const want = values[0].map((_, i) => values[0][i - (i % WIDTH) + columnFrom(i % WIDTH)]);
      const tensors = new ConvertedTensors(tree, "f", [tensor]);
      expect(await numbersOf(tensors)).toEqual(want);
      if (columnFrom(0) !== 32) expect(tensors.infos.get("t")!.rounded).toBeUndefined();
      else expectNear(await blocksOf(tensors, 0, ROWS), want, isExact);
    }
  });

  it("matrices that are turned, one behind the other", async () => {
    const { tree, values, runs } = fileOf([kind]);
    const [count, rows] = [3, ROWS / 3];
    const tensor: PlannedTensor = { ...BASIC, isTurned: true, shape: [count, WIDTH, rows], runs };
    const tensors = new ConvertedTensors(tree, "f", [tensor]);
    const want = Float32Array.from({ length: ROWS * WIDTH }, (_, i) => {
      const [matrix, within] = [Math.floor(i / (WIDTH * rows)), i % (WIDTH * rows)];
      return values[0][(matrix * rows + (within % rows)) * WIDTH + Math.floor(within / rows)];
    });
    expect(await numbersOf(tensors)).toEqual(want);
    const part = await tensors.read(4 * (WIDTH * rows - 3), 24);
    expect(new Float32Array(part.slice().buffer)).toEqual(want.slice(WIDTH * rows - 3, WIDTH * rows + 3));
    expect(tensors.infos.get("t")!.rounded!.storedInOut).toBe(true);
    expectNear(await blocksOf(tensors, 0, ROWS), values[0], isExact);
  });
});

it("rows of two tensors in turns, which are stored otherwise", async () => {
  const { tree, values, runs } = fileOf(["Q8_0", "MXFP4"]);
  const rowFrom = (row: number) => (row % 2) * ROWS + Math.floor(row / 2);
  const tensor: PlannedTensor = { ...BASIC, shape: [2 * ROWS, WIDTH], runs, rowFrom };
  const tensors = new ConvertedTensors(tree, "f", [tensor]);
  const want = Float32Array.from({ length: 2 * ROWS * WIDTH }, (_, i) => {
    const row = Math.floor(i / WIDTH);
    return values[row % 2][Math.floor(row / 2) * WIDTH + (i % WIDTH)];
  });
  expect(await numbersOf(tensors)).toEqual(want);
  expectNear(await blocksOf(tensors, 0, 2 * ROWS), want, false);
});

it("what was done to entries is undone, and nothing is taken for blocks then", async () => {
  const { tree, values, runs } = fileOf(["Q8_0"]);
  const undo = (entry: number) => entry - 1;
  const tensors = new ConvertedTensors(tree, "f", [{ ...BASIC, shape: [ROWS, WIDTH], runs, undo }]);
  expect(await numbersOf(tensors)).toEqual(values[0].map(undo));
  expect(tensors.infos.get("t")!.rounded).toBeUndefined();
});
