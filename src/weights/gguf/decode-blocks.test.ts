import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decodeBlocks } from "./decode-blocks.ts";
import { exactBits, repackBlocks } from "./repack-blocks.ts";
import { READ_KINDS, type ReadKind } from "./tensor-kinds.ts";

interface Vector {
  readonly kind: ReadKind;
  /** base64 */
  readonly blocks: string;
  readonly values: string;
}

/** Of the gguf package for Python: tools/make-gguf-vectors.py. */
const vectors: readonly Vector[] = JSON.parse(
  readFileSync(new URL("../../../test/vectors/gguf/blocks.json", import.meta.url), "utf8"),
);

const bytesIn = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"));
const valuesIn = (base64: string): Float32Array => new Float32Array(bytesIn(base64).buffer);

it("has a vector of each kind", () => {
  expect(vectors.map(({ kind }) => kind).sort()).toEqual([...READ_KINDS].sort());
});

describe.each(vectors)("$kind", ({ kind, blocks, values }) => {
  it("is read as the gguf package reads it, to the last bit", () => {
    expect(decodeBlocks(kind, bytesIn(blocks))).toEqual(valuesIn(values));
  });

  const bits = exactBits(kind);
  it.runIf(bits !== undefined)("is the same in our blocks", () => {
    const { codes, scales } = repackBlocks(kind, bytesIn(blocks));
    const want = valuesIn(values);
    const got = Float32Array.from(want, (_, i) => {
      const byte = codes[(i * bits!) >> 3];
      const code = bits === 4 ? (byte >> (4 * (i & 1))) & 15 : byte;
      return scales[i >> 5] * (code - 2 ** (bits! - 1));
    });
    expect(got).toEqual(want);
  });
});
