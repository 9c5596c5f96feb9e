import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { numbersOf, packTensors, roundMatrix } from "../../../test/support/packed-folder.ts";
import { convertRows, joinForms } from "../join-forms.ts";
import {
  type BlockForm,
  blocksOf,
  bytesOfBlock,
  type QuantizedBlocks,
  zeroPointBytes,
} from "../quantize-blocks.ts";
import { widenF16 } from "../../base/float16.ts";
import { formOf, type PackedLayout, PackedModule } from "./packed-module.ts";

interface Vector {
  readonly name: string;
  readonly method: "gptq" | "awq";
  readonly bits: 4 | 8;
  readonly groupSize: number;
  /** base64 */
  readonly qweight: string;
  readonly qzeros: string;
  readonly scales: string;
  readonly g_idx?: string;
  readonly values: string;
}

/** Of AutoGPTQ and AutoAWQ: tools/make-packed-vectors.py. */
const vectors: readonly Vector[] = JSON.parse(
  readFileSync(new URL("../../../test/vectors/packed.json", import.meta.url), "utf8"),
);
const [IN, OUT] = [64, 32];

const bufferOf = (base64: string): ArrayBuffer => new Uint8Array(Buffer.from(base64, "base64")).buffer;

/** Rows read back from the definition of their form. */
function numbers(rows: QuantizedBlocks, columns: number, form: BlockForm): Float32Array {
  const blocks = blocksOf(columns, form);
  const code = (bytes: Uint8Array, start: number, i: number) =>
    form.bits === 8 ? bytes[start + i] : (bytes[start + (i >> 1)] >> (4 * (i & 1))) & 15;
  const count = rows.scales.length / blocks;
  return Float32Array.from({ length: count * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    const block = Math.floor(column / form.block);
    const zero = form.hasZeroPoints
      ? code(rows.zeroPoints!, row * zeroPointBytes(columns, form), block)
      : 2 ** (form.bits - 1);
    const at = (row * blocks + block) * bytesOfBlock(form);
    return rows.scales[row * blocks + block] * (code(rows.codes, at, column % form.block) - zero);
  });
}

describe.each(vectors)("$name", (vector) => {
  const { method, bits, groupSize } = vector;
  const order = vector.g_idx === undefined ? undefined : new Int32Array(bufferOf(vector.g_idx));
  const isInOrder = order?.every((group, k) => group === Math.floor(k / groupSize)) ?? true;
  const layout: PackedLayout = {
    ...{ method, bits, groupSize, zerosLessOne: method === "gptq", symmetric: false },
    ...{ outFeatures: OUT, inFeatures: IN, groups: IN / groupSize, groupOf: isInOrder ? undefined : order },
  };
  const tensors = {
    qweight: new Uint32Array(bufferOf(vector.qweight)),
    qzeros: new Uint32Array(bufferOf(vector.qzeros)),
    scales: widenF16(new Uint16Array(bufferOf(vector.scales))),
  };
  const values = new Float32Array(bufferOf(vector.values));

  it("is read as the library reads it, to the last bit", () => {
    expect(new PackedModule(layout, tensors, "m").dequantize(0, OUT)).toEqual(values);
    expect(new PackedModule(layout, tensors, "m").dequantize(5, 9)).toEqual(values.subarray(5 * IN, 14 * IN));
  });

  it("is the same in our blocks, or within what 8 bits leave", () => {
    const got = numbers(new PackedModule(layout, tensors, "m").blocks(0, OUT), IN, formOf(layout));
    if (isInOrder) expect(got).toEqual(values);
    else {
      const largest = values.reduce((most, w) => Math.max(most, Math.abs(w)), 0);
      for (const [i, w] of values.entries()) expect(Math.abs(got[i] - w)).toBeLessThanOrEqual(largest / 254);
    }
  });

  it.runIf(method === "gptq")("is the same in the second version of the format", () => {
    const one = bits === 4 ? 0x11111111 : 0x01010101;
    const qzeros = tensors.qzeros.map((word) => word + one);
    const second = new PackedModule({ ...layout, zerosLessOne: false }, { ...tensors, qzeros }, "m");
    expect(second.dequantize(0, OUT)).toEqual(values);
  });
});

describe("any module", () => {
  const cases = fc.record({
    method: fc.constantFrom("gptq" as const, "awq" as const),
    bits: fc.constantFrom(4 as const, 8 as const),
    groupSize: fc.constantFrom(-1, 32, 64, 96, 128, 256),
    symmetric: fc.boolean(),
    anyOrder: fc.boolean(),
    version: fc.constantFrom("gptq" as const, "gptq_v2" as const),
    columns: fc.integer({ min: 1, max: 40 }).map((n) => 8 * n),
    rows: fc.constantFrom(8, 16, 40),
    seed: fc.integer(),
  });

  it("is what its integers say, in float32 and in blocks, in any runs of rows", () => {
    fc.assert(
      fc.property(cases, ({ columns, rows, seed, ...options }) => {
        if (options.method === "awq") Object.assign(options, { bits: 4, symmetric: false, anyOrder: false });
        const weights = Float32Array.from(
          { length: rows * columns },
          (_, i) => Math.sin(i * 12.9898 + seed) * 3,
        );
        const rounded = roundMatrix(weights, columns, options);
        const { bits, method, version, symmetric, groupSize } = options;
        const size = groupSize === -1 ? columns : groupSize;
        const parts = packTensors("m", rounded, options).map(({ data }) => data.slice().buffer);
        const isInOrder = rounded.groupOf.every((group, k) => group === Math.floor(k / size));
        const layout: PackedLayout = {
          ...{ method, bits, zerosLessOne: method === "gptq" && version === "gptq", symmetric },
          ...{ outFeatures: rows, inFeatures: columns, groups: rounded.groups },
          groupSize: rounded.groups === 1 ? columns : size,
          groupOf: isInOrder ? undefined : rounded.groupOf,
        };
        const tensors = {
          qweight: new Uint32Array(parts[0]),
          qzeros: new Uint32Array(parts[1]),
          scales: widenF16(new Uint16Array(parts[2])),
        };
        const module = new PackedModule(layout, tensors, "m");
        const want = numbersOf(rounded);
        // −0 and +0 are one number.
        expect(module.dequantize(0, rows).map((w) => w + 0)).toEqual(want.map((w) => w + 0));
        const form = formOf(layout);
        const got = [0, 3].flatMap((first, i) => [
          ...numbers(module.blocks(first, i === 0 ? 3 : rows - 3), columns, form),
        ]);
        if (form.bits === bits && isInOrder)
          expect(got.map((w) => w + 0)).toEqual([...want].map((w) => w + 0));
        else for (const [i, w] of want.entries()) expect(Math.abs(got[i] - w)).toBeLessThanOrEqual(6 / 200);
        // Joined with others it is exact all the same.
        for (const other of [
          form,
          { bits: 8, block: 32 },
          { bits: 4, block: 64, hasZeroPoints: true },
        ] as const) {
          const joined = joinForms([form, other]);
          const converted = numbers(
            convertRows(module.blocks(0, rows), columns, form, joined),
            columns,
            joined,
          );
          expect(converted.map((w) => w + 0)).toEqual(Float32Array.from(got, (w) => w + 0));
        }
      }),
      { numRuns: 60 },
    );
  });

  it("refuses scales that are not finite, and zero points that the configuration excludes", () => {
    const layout: PackedLayout = {
      ...{ method: "gptq", bits: 4, groupSize: 8, zerosLessOne: false, symmetric: true },
      ...{ outFeatures: 8, inFeatures: 8, groups: 1 },
    };
    const tensors = {
      qweight: new Uint32Array(8),
      qzeros: Uint32Array.of(0x88888888),
      scales: new Float32Array(8).fill(1),
    };
    new PackedModule(layout, tensors, "m");
    const refused = (changed: object, what: RegExp) =>
      expect(() => new PackedModule(layout, { ...tensors, ...changed }, "a.safetensors: module m")).toThrow(
        what,
      );
    refused(
      { qzeros: Uint32Array.of(0x88888878) },
      /a\.safetensors: module m: qzeros has a zero point other than 8/,
    );
    refused({ scales: new Float32Array(8).fill(Number.NaN) }, /scales has an entry that is not finite/);
  });
});
