import { describe, expect, it } from "vitest";
import type { BlockForm } from "../../weights/quantize-blocks.ts";
import { memoryFileTree } from "../../weights/memory-files.ts";
import { chooseForms } from "./block-forms.ts";
import type { Matrix, StoredTensor } from "./weight-source.ts";

const tree = memoryFileTree({});

function stored(matrix: Omit<Matrix, "tensors">, ...rounded: (BlockForm | undefined)[]) {
  const parts = matrix.outFeatures.map((out, i): StoredTensor => {
    const form = rounded[i];
    const info = { name: "w", dtype: "F16", shape: [out, matrix.inFeatures], path: "", offset: 0 } as const;
    const read = { readRows: () => expect.unreachable() };
    return { tree, info: { ...info, bytes: 0, ...(form ? { rounded: { form, ...read } } : {}) } };
  });
  return { matrix: { ...matrix, tensors: matrix.outFeatures.map(() => "w") }, parts };
}

/** The matrices of a decoder of this shape, in the order of its pass. */
function decoder(layers: number, hidden: number, qkv: number[], inner: number, vocab: number) {
  const layer = () => [
    stored({ outFeatures: qkv, inFeatures: hidden }),
    stored({ outFeatures: [hidden], inFeatures: hidden }),
    stored({ outFeatures: [inner, inner], inFeatures: hidden }),
    stored({ outFeatures: [hidden], inFeatures: inner }),
  ];
  const head = stored({ outFeatures: [vocab], inFeatures: hidden, isHead: true });
  return [...Array.from({ length: layers }, layer).flat(), head];
}

const QWEN = decoder(24, 896, [896, 128, 128], 4864, 151_936);
const bits = (matrices: readonly ReturnType<typeof stored>[], format: "int4" | "int8" = "int4") =>
  chooseForms(format, matrices).map((form) => form?.bits);

describe("chooseForms", () => {
  it("int8: all in 8 bits, in blocks that rows are whole of", () => {
    expect(chooseForms("int8", QWEN)).toEqual(QWEN.map(() => ({ bits: 8, block: 64 })));
    const odd = [64, 192, 96, 80].map((inFeatures) => stored({ outFeatures: [10], inFeatures }));
    expect(chooseForms("int8", odd).map((form) => form?.block)).toEqual([64, 64, 32, 32]);
  });

  it("int4: the head and a seventh of the layers, the first ones, have 8 bits; large blocks", () => {
    const chosen = bits(QWEN);
    expect(chosen).toEqual([...Array(3 * 4 + 3).fill(8), ...Array(20 * 4 + 1).fill(4), 8]);
    expect(new Set(chooseForms("int4", QWEN).map((form) => form?.block))).toEqual(new Set([128]));
  });

  it("leaves what is exact", () => {
    const exact = stored({ outFeatures: [8], inFeatures: 128, exact: true });
    const large = stored({ outFeatures: [4096], inFeatures: 4096 });
    expect(bits([exact, large, large])).toEqual([undefined, 8, 4]);
    expect(chooseForms("original", [exact, large])).toEqual([undefined, undefined]);
  });

  it("keeps what the file holds rounded already, but for 8 bits where 4 are wanted", () => {
    const four: BlockForm = { bits: 4, block: 64, hasZeroPoints: true };
    const eight: BlockForm = { bits: 8, block: 32 };
    const matrix = { outFeatures: [128, 128], inFeatures: 128 };
    const same = stored(matrix, four, four);
    const mixed = stored(matrix, four, eight);
    const half = stored(matrix, four);
    const large = stored({ outFeatures: [4096], inFeatures: 4096 });
    const all = [same, mixed, half, large];
    expect(chooseForms("original", all)).toEqual([four, eight, undefined, undefined]);
    expect(chooseForms("int8", all)).toEqual([four, eight, { bits: 8, block: 64 }, { bits: 8, block: 64 }]);
    expect(bits([...all, large])).toEqual([4, 4, 8, 8, 4]);
  });
});
