import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesOf, concatBytes, utf8 } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import type { FileTree } from "../base/platform.ts";
import { nodeFileTree } from "../platform/node/files/file-tree.ts";
import { memoryFileTree } from "./memory-files.ts";
import {
  type Dtype,
  encodeSafetensors,
  openSafetensors,
  readTensorBytes,
  readTensorF32,
} from "./safetensors.ts";

const GOLDEN = "test/fixtures/golden";
const RUNS = process.env.SLOW ? 5000 : 300;

/** A file with this header text, followed by `dataBytes` zero bytes. */
function fileWith(header: string, dataBytes = 0, claimedLength = utf8(header).length): FileTree {
  const prefix = new DataView(new ArrayBuffer(8));
  prefix.setBigUint64(0, BigInt(claimedLength), true);
  return memoryFileTree({ x: concatBytes(bytesOf(prefix), utf8(header), new Uint8Array(dataBytes)) });
}

const entry = (shape: unknown, begin: unknown, end: unknown, dtype: unknown = "F32") =>
  JSON.stringify({ dtype, shape, data_offsets: [begin, end] });

describe("openSafetensors", () => {
  it("reads a golden file: names, shapes, and values equal to those at the raw offsets", async () => {
    const tree = nodeFileTree(`${GOLDEN}/llama-f32`);
    const file = await openSafetensors(tree, "model.safetensors");
    const raw = readFileSync(`${GOLDEN}/llama-f32/model.safetensors`);
    const headerLength = Number(raw.readBigUInt64LE(0));
    const header = JSON.parse(raw.toString("utf8", 8, 8 + headerLength));
    const { __metadata__: metadata = {}, ...entries } = header;
    expect([...file.tensors.keys()].sort()).toEqual(Object.keys(entries).sort());
    expect(file.metadata).toEqual(metadata);
    expect(file.tensors.get("model.embed_tokens.weight")?.shape).toEqual([300, 96]);
    for (const name of [
      "model.embed_tokens.weight",
      "model.layers.1.self_attn.k_proj.weight",
      "model.norm.weight",
    ]) {
      const info = file.tensors.get(name)!;
      const values = await readTensorF32(tree, info);
      const start = 8 + headerLength + entries[name].data_offsets[0];
      expect(info.offset).toBe(start);
      expect(values.length).toBe(info.shape.reduce((a, b) => a * b, 1));
      for (const i of [0, 1, 7, values.length >> 1, values.length - 1]) {
        expect(values[i]).toBe(raw.readFloatLE(start + 4 * i));
      }
    }
  });

  it("widens every BF16 and every F16 word exactly", async () => {
    const words = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const tensors = (["BF16", "F16"] as Dtype[]).map((dtype) => ({
      name: dtype,
      dtype,
      shape: [65536],
      data: bytesOf(words),
    }));
    const tree = memoryFileTree({ x: encodeSafetensors(tensors) });
    const { tensors: infos } = await openSafetensors(tree, "x");
    const bf16 = await readTensorF32(tree, infos.get("BF16")!);
    const f16 = await readTensorF32(tree, infos.get("F16")!);
    const view = new DataView(new ArrayBuffer(4));
    for (let word = 0; word < 65536; word++) {
      view.setUint32(0, word * 65536);
      expect(Object.is(bf16[word], view.getFloat32(0))).toBe(true);
      const sign = word >> 15 ? -1 : 1;
      const exponent = (word >> 10) & 31;
      const fraction = word & 1023;
      let value = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
      if (exponent === 31) value = fraction ? Number.NaN : Number.POSITIVE_INFINITY;
      expect(Object.is(f16[word], sign * value)).toBe(true);
    }
  });

  it("reads tensors that are not aligned", async () => {
    const data = new Uint8Array(12);
    new DataView(data.buffer).setFloat32(0, 1.5, true);
    new DataView(data.buffer).setFloat32(4, -2.25, true);
    const bytes = encodeSafetensors([
      { name: "odd", dtype: "U8", shape: [3], data: new Uint8Array(3) },
      { name: "values", dtype: "F32", shape: [2], data: data.subarray(0, 8) },
      { name: "half", dtype: "F16", shape: [1], data: Uint8Array.of(0x00, 0x3c) },
    ]);
    const whole = memoryFileTree({ x: bytes });
    // A tree whose reads are views of one buffer, as a Node Buffer pool gives them.
    const views: FileTree = {
      ...whole,
      read: async (_, offset, length) => Buffer.from(bytes.buffer).subarray(offset, offset + length),
    };
    for (const tree of [whole, views]) {
      const { tensors } = await openSafetensors(tree, "x");
      expect(await readTensorF32(tree, tensors.get("values")!)).toEqual(Float32Array.of(1.5, -2.25));
      expect(await readTensorF32(tree, tensors.get("half")!)).toEqual(Float32Array.of(1));
      await expect(readTensorF32(tree, tensors.get("odd")!)).rejects.toMatchObject({
        code: "bad_checkpoint",
      });
    }
  });

  it("accepts scalars, empty tensors, an empty file and padding", async () => {
    const header = `{"s":${entry([], 0, 4)},"e":${entry([3, 0], 4, 4)},"f":${entry([0], 0, 0)}}   `;
    const { tensors } = await openSafetensors(fileWith(header, 4), "x");
    expect(tensors.get("s")).toEqual({
      name: "s",
      dtype: "F32",
      shape: [],
      path: "x",
      offset: 8 + header.length,
      bytes: 4,
    });
    expect(tensors.get("e")?.bytes).toBe(0);
    expect((await openSafetensors(fileWith("{}"), "x")).tensors.size).toBe(0);
  });

  const hostile: [string, FileTree, RegExp][] = [
    ["missing file", memoryFileTree({}), /no such file/],
    ["too short", memoryFileTree({ x: new Uint8Array(7) }), /too short/],
    ["header longer than the file", fileWith("{}", 0, 3), /claims 3 bytes/],
    ["header over the limit", fileWith("{}", 0, 100_000_001), /over the limit/],
    ["header length 2^63", fileWith("{}", 0, 2 ** 63), /over the limit/],
    ["not JSON", fileWith("{nope}"), /not JSON/],
    ["an array", fileWith("[]"), /begin with/],
    ["a byte order mark", fileWith("\ufeff{}"), /begin with/],
    ["deep nesting", fileWith('{"a":' + "[".repeat(200_000)), /not JSON/],
    [
      "not UTF-8",
      memoryFileTree({
        x: concatBytes(Uint8Array.of(5, 0, 0, 0, 0, 0, 0, 0), utf8('{"'), Uint8Array.of(0xff), utf8('"}')),
      }),
      /not UTF-8/,
    ],
    ["the same name twice", fileWith(`{"a":${entry([1], 0, 4)},"a":${entry([1], 0, 4)}}`, 4), /"a" twice/],
    [
      "the same name twice, escaped",
      fileWith(`{"a":${entry([1], 0, 4)},"\\u0061":${entry([1], 0, 4)}}`, 4),
      /"a" twice/,
    ],
    ["__proto__", fileWith(`{"__proto__":${entry([1], 0, 4)}}`, 4), /__proto__/],
    [
      "__proto__ inside",
      fileWith(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"__proto__":{}}}`, 4),
      /__proto__/,
    ],
    ["overlap", fileWith(`{"a":${entry([2], 0, 8)},"b":${entry([2], 4, 12)}}`, 12), /"b" overlaps/],
    [
      "two tensors in one place",
      fileWith(`{"a":${entry([2], 0, 8)},"b":${entry([2], 0, 8)}}`, 8),
      /overlaps/,
    ],
    [
      "a hole",
      fileWith(`{"a":${entry([1], 0, 4)},"b":${entry([1], 8, 12)}}`, 12),
      /4 unused bytes before tensor "b"/,
    ],
    ["a hole at the start", fileWith(`{"a":${entry([1], 4, 8)}}`, 8), /4 unused/],
    ["data after the last tensor", fileWith(`{"a":${entry([1], 0, 4)}}`, 5), /1 bytes follow/],
    ["past the end", fileWith(`{"a":${entry([2], 0, 8)}}`, 7), /"a" ends at byte/],
    ["shape and offsets differ", fileWith(`{"a":${entry([2], 0, 4)}}`, 4), /"a": its shape needs 8 bytes/],
    ["end before begin", fileWith(`{"a":${entry([1], 4, 0)}}`, 4), /span -4/],
    ["negative dimension", fileWith(`{"a":${entry([-1], 0, 4)}}`, 4), /list of counts/],
    ["fractional dimension", fileWith(`{"a":${entry([1.5], 0, 6)}}`, 6), /list of counts/],
    ["minus zero", fileWith('{"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}'), /list of counts/],
    ["huge dimensions", fileWith(`{"a":${entry([2 ** 40, 2 ** 40], 0, 0)}}`), /too large/],
    ["huge times zero", fileWith(`{"a":${entry([2 ** 53 - 1, 2 ** 53 - 1, 0], 0, 0)}}`), /too large/],
    [
      "offset past 2^53",
      fileWith('{"a":{"dtype":"F32","shape":[1],"data_offsets":[9007199254740992,9007199254740996]}}'),
      /two counts/,
    ],
    ["unknown dtype", fileWith(`{"a":${entry([1], 0, 4, "F33")}}`, 4), /unknown dtype "F33"/],
    ["dtype of the prototype", fileWith(`{"a":${entry([1], 0, 4, "toString")}}`, 4), /unknown dtype/],
    ["half a byte", fileWith(`{"a":${entry([3], 0, 1.5, "F4")}}`, 2), /two counts/],
    ["packed elements that end inside a byte", fileWith(`{"a":${entry([3], 0, 2, "F4")}}`, 2), /whole bytes/],
    [
      "an unknown field",
      fileWith('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"quantizer":"run me"}}', 4),
      /unknown field/,
    ],
    ["an entry that is null", fileWith('{"a":null}'), /not an object/],
    ["metadata that is not text", fileWith('{"__metadata__":{"a":1}}'), /__metadata__/],
  ];
  it.each(hostile)("refuses %s", async (_, tree, message) => {
    const error = await openSafetensors(tree, "x").then(
      () => undefined,
      (thrown) => thrown,
    );
    expect(error).toBeInstanceOf(TacetError);
    expect(error.code).toBe("bad_checkpoint");
    expect(error.message).toMatch(message);
    expect(error.message).toMatch(/^x/);
  });

  it("neither crashes nor reads past the file on any header", async () => {
    const odd = fc.oneof(
      fc.integer(),
      fc.double(),
      fc.constantFrom(0, 4, 8, null, "F32", "BF16", [], {}, -1, 2 ** 53),
    );
    const arbitraryEntry = fc.record(
      {
        dtype: fc.oneof(fc.constantFrom("F32", "U8", "F4"), odd),
        shape: fc.oneof(fc.array(odd), odd),
        data_offsets: fc.oneof(fc.tuple(odd, odd), odd),
      },
      { requiredKeys: [] },
    );
    const header = fc.oneof(
      fc
        .dictionary(fc.string(), fc.oneof(arbitraryEntry, fc.jsonValue()))
        .map((value) => JSON.stringify(value)),
      fc.json(),
      fc.string(),
      fc.string().map((text) => `{${text}`),
    );
    await fc.assert(
      fc.asyncProperty(header, fc.nat(64), fc.integer({ min: -3, max: 3 }), async (text, dataBytes, slip) => {
        const tree = fileWith(text, dataBytes, Math.max(0, utf8(text).length + slip));
        const size = (await tree.size("x"))!;
        try {
          const { tensors } = await openSafetensors(tree, "x");
          for (const info of tensors.values()) {
            expect(info.offset + info.bytes).toBeLessThanOrEqual(size);
            expect((await readTensorBytes(tree, info)).length).toBe(info.bytes);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(TacetError);
          expect((error as TacetError).code).toBe("bad_checkpoint");
        }
      }),
      { numRuns: RUNS },
    );
  });

  it("survives a change of any single byte of a real header", async () => {
    const bytes = encodeSafetensors([
      { name: "a", dtype: "F32", shape: [2, 1], data: new Uint8Array(8) },
      { name: "b", dtype: "I8", shape: [3], data: new Uint8Array(3) },
    ]);
    for (let at = 0; at < bytes.length; at++) {
      for (const flip of [1, 4, 0x20, 0x80]) {
        const changed = bytes.slice();
        changed[at] ^= flip;
        await openSafetensors(memoryFileTree({ x: changed }), "x").catch((error) =>
          expect(error).toBeInstanceOf(TacetError),
        );
      }
      await expect(openSafetensors(memoryFileTree({ x: bytes.slice(0, at) }), "x")).rejects.toMatchObject({
        code: "bad_checkpoint",
      });
    }
  });
});

describe("encodeSafetensors", () => {
  it("gives what openSafetensors reads, in the order given, with the data at a multiple of 8", async () => {
    const dtypes: [Dtype, number][] = [
      ["U8", 8],
      ["BOOL", 8],
      ["I16", 16],
      ["BF16", 16],
      ["F32", 32],
      ["F64", 64],
      ["F4", 4],
    ];
    const tensor = fc.tuple(fc.string(), fc.constantFrom(...dtypes), fc.array(fc.nat(5), { maxLength: 3 }));
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(tensor, { selector: ([name]) => name }),
        fc.dictionary(fc.string(), fc.string()),
        async (list, metadata) => {
          const tensors = list
            .filter(
              ([name, [, bits], shape]) =>
                name !== "__metadata__" &&
                name !== "__proto__" &&
                (bits * shape.reduce((a, b) => a * b, 1)) % 8 === 0,
            )
            .map(([name, [dtype, bits], shape]) => ({
              name,
              dtype,
              shape,
              data: new Uint8Array((bits * shape.reduce((a, b) => a * b, 1)) / 8).fill(name.length),
            }));
          fc.pre(!Object.hasOwn(metadata, "__proto__"));
          const bytes = encodeSafetensors(tensors, metadata);
          expect(encodeSafetensors(tensors, metadata)).toEqual(bytes);
          const tree = memoryFileTree({ x: bytes });
          const file = await openSafetensors(tree, "x");
          expect(file.metadata).toEqual(metadata);
          expect(file.tensors.size).toBe(tensors.length);
          let offset = 8 + new DataView(bytes.buffer).getUint32(0, true);
          expect(offset % 8).toBe(0);
          for (const { name, dtype, shape, data } of tensors) {
            const info = file.tensors.get(name)!;
            expect(info).toMatchObject({ dtype, shape, offset });
            expect(await readTensorBytes(tree, info)).toEqual(data);
            offset += data.length;
          }
        },
      ),
      { numRuns: RUNS },
    );
  });

  it("refuses what it could not read back", () => {
    const data = new Uint8Array(4);
    expect(() => encodeSafetensors([{ name: "a", dtype: "F32", shape: [2], data }])).toThrow(RangeError);
    expect(() => encodeSafetensors([{ name: "__metadata__", dtype: "F32", shape: [1], data }])).toThrow(
      RangeError,
    );
    const twice = { name: "a", dtype: "F32" as const, shape: [1], data };
    expect(() => encodeSafetensors([twice, twice])).toThrow(RangeError);
  });
});
