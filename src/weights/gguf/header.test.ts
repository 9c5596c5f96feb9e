/** Headers of GGUF files: what is read, what is refused and by which name, and that nothing else can happen. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { folderGguf } from "../../../tools/gguf/from-folder.ts";
import { ggufBytes } from "../../../tools/gguf/write-gguf.ts";
import { bytesOf, concatBytes, utf8 } from "../../base/bytes.ts";
import { TacetError } from "../../base/errors.ts";
import type { FileTree } from "../../base/platform.ts";
import { openCheckpoint } from "../checkpoint.ts";
import { memoryFileTree } from "../memory-files.ts";
import { readTensorF32 } from "../safetensors.ts";
import { openGguf } from "./open-gguf.ts";

const RUNS = { numRuns: process.env.SLOW ? 20_000 : 300 };

const u32 = (value: number) => bytesOf(Uint32Array.of(value));
const u64 = (value: number | bigint) => bytesOf(BigUint64Array.of(BigInt(value)));
const text = (value: string | Uint8Array) => {
  const bytes = typeof value === "string" ? utf8(value) : value;
  return concatBytes(u64(bytes.length), bytes);
};
const MAGIC = utf8("GGUF");

interface Spec {
  readonly magic?: Uint8Array;
  readonly version?: number;
  readonly tensorCount?: number | bigint;
  readonly entryCount?: number | bigint;
  readonly entries?: readonly Uint8Array[];
  readonly tensors?: readonly Uint8Array[];
  readonly data?: number;
}

const entry = (key: string | Uint8Array, type: number, ...value: Uint8Array[]) =>
  concatBytes(text(key), u32(type), ...value);
const tensor = (name: string, dims: readonly (number | bigint)[], kind: number, offset: number | bigint) =>
  concatBytes(text(name), u32(dims.length), ...dims.map(u64), u32(kind), u64(offset));

function file(spec: Spec): Uint8Array {
  const { entries = [], tensors = [], data = 0 } = spec;
  const head = concatBytes(
    spec.magic ?? MAGIC,
    u32(spec.version ?? 3),
    u64(spec.tensorCount ?? tensors.length),
    u64(spec.entryCount ?? entries.length),
    ...entries,
    ...tensors,
  );
  return concatBytes(head, new Uint8Array((-head.length & 31) + data));
}

const open = (bytes: Uint8Array) => openGguf(memoryFileTree({ "m.gguf": bytes }), "m.gguf");

describe("a header", () => {
  it("gives every type of value, and tensors with their places", async () => {
    const bytes = file({
      version: 2,
      entries: [
        entry("u8", 0, Uint8Array.of(200)),
        entry("i8", 1, Uint8Array.of(200)),
        entry("u16", 2, Uint8Array.of(1, 2)),
        entry("i16", 3, Uint8Array.of(255, 255)),
        entry("u32", 4, u32(2 ** 32 - 1)),
        entry("i32", 5, u32(2 ** 32 - 2)),
        entry("f32", 6, bytesOf(Float32Array.of(0.5))),
        entry("bool", 7, Uint8Array.of(1)),
        entry("text", 8, text("naïve")),
        entry("list", 9, u32(8), u64(2), text("a"), text("")),
        entry("numbers", 9, u32(5), u64(2), u32(7), u32(2 ** 32 - 1)),
        entry("u64", 10, u64(2 ** 40)),
        entry("huge", 10, u64(2n ** 64n - 1n)),
        entry("i64", 11, bytesOf(BigInt64Array.of(-3n))),
        entry("f64", 12, bytesOf(Float64Array.of(1e-300))),
      ],
      tensors: [tensor("a", [3, 2], 0, 0), tensor("b", [32, 2, 5], 8, 32)],
      data: 32 + 340,
    });
    const { metadata, tensors, version } = await open(bytes);
    expect(version).toBe(2);
    expect(Object.fromEntries(metadata)).toEqual({
      ...{ u8: 200, i8: -56, u16: 513, i16: -1, u32: 2 ** 32 - 1, i32: -2, f32: 0.5, bool: true },
      ...{ text: "naïve", list: ["a", ""], numbers: [7, -1], u64: 2 ** 40, huge: 2n ** 64n - 1n, i64: -3 },
      f64: 1e-300,
    });
    const start = bytes.length - 372;
    expect(tensors.get("a")).toMatchObject({ shape: [2, 3], offset: start, bytes: 24 });
    expect(tensors.get("b")).toMatchObject({ shape: [5, 2, 32], offset: start + 32, bytes: 340 });
  });

  it("is read in steps where it is long, and no more of the file than that", async () => {
    const long = Array.from({ length: 40_000 }, (_, i) => text(`token ${i} ${"x".repeat(40)}`));
    const bytes = file({
      entries: [entry("tokens", 9, u32(8), u64(long.length), ...long)],
      tensors: [tensor("a", [2_000_000], 0, 0)],
      data: 8_000_000,
    });
    let read = 0;
    const inner = memoryFileTree({ "m.gguf": bytes });
    const tree: FileTree = {
      ...inner,
      read: async (path, offset, length) => {
        read += length;
        return await inner.read(path, offset, length);
      },
    };
    const { metadata } = await openGguf(tree, "m.gguf");
    expect((metadata.get("tokens") as string[])[39_999]).toMatch(/^token 39999 /);
    expect(read).toBe((1 << 20) + (4 << 20));
  });

  const list = (count: number | bigint, type = 4) => entry("list", 9, u32(type), u64(count));
  const one = [tensor("a", [8], 0, 0)];
  const align = (value: number) => entry("general.alignment", 4, u32(value));
  it.each<[string, Uint8Array, RegExp]>([
    ["nothing", new Uint8Array(0), /the file ends within the magic/],
    ["another file", file({ magic: utf8("GGML") }), /does not begin with GGUF/],
    ["a pickle", utf8("PK\u0003\u0004 and more than that"), /does not begin with GGUF/],
    [
      "a Git LFS pointer",
      utf8("version https://git-lfs.github.com/spec/v1\noid sha256:0"),
      /is a Git LFS pointer/,
    ],
    ["version 1", file({ version: 1 }), /version 1 is not one of 2 and 3/],
    ["a later version", file({ version: 4 }), /version 4/],
    ["big-endian", file({ version: 3 << 24 }), /it is big-endian/],
    [
      "more entries than fit",
      file({ entryCount: 2n ** 62n }),
      /the number of metadata entries, \d+, is too large/,
    ],
    [
      "some more",
      file({ entryCount: 1e6 }),
      /the number of metadata entries is 1000000, and the file has room for 0/,
    ],
    [
      "more tensors than fit",
      file({ tensorCount: 2 ** 40 }),
      /the number of tensors is \d+, and the file has room/,
    ],
    [
      "a key beyond the file",
      file({ entries: [u64(60_000)], entryCount: 1, data: 64 }),
      /the file ends within the key of metadata entry 0/,
    ],
    [
      "a key too long",
      file({ entries: [u64(2 ** 40)], entryCount: 1, data: 64 }),
      /the key of metadata entry 0 has \d+ bytes/,
    ],
    [
      "a key that is no text",
      file({ entries: [entry(Uint8Array.of(0xff), 0, Uint8Array.of(0))] }),
      /the key of metadata entry 0 is not UTF-8/,
    ],
    [
      "a text that is none",
      file({ entries: [entry("k", 8, text(Uint8Array.of(0xc3)))] }),
      /"k" is not UTF-8/,
    ],
    [
      "a key twice",
      file({ entries: [entry("k", 0, Uint8Array.of(0)), entry("k", 0, Uint8Array.of(0))] }),
      /"k" is there twice/,
    ],
    ["an unknown type", file({ entries: [entry("k", 13, u64(0))] }), /"k" is of unknown type 13/],
    ["a bool of 2", file({ entries: [entry("k", 7, Uint8Array.of(2))] }), /"k" is a bool of value 2/],
    [
      "a list beyond the file",
      file({ entries: [list(2 ** 30)], data: 64 }),
      /the length of "list" is 1073741824, and the file has room/,
    ],
    ["a list of lists", file({ entries: [list(1, 9)], data: 64 }), /"list" is an array of arrays/],
    [
      "a list of an unknown type",
      file({ entries: [list(1, 99)], data: 64 }),
      /"list" has entries of unknown type 99/,
    ],
    ["an alignment of 0", file({ entries: [align(0)] }), /"general.alignment" must be a power of two/],
    ["an alignment of 48", file({ entries: [align(48)] }), /"general.alignment" must be a power of two/],
    ["a tensor twice", file({ tensors: [...one, ...one], data: 32 }), /tensor "a" is there twice/],
    ["no dimensions", file({ tensors: [tensor("a", [], 0, 0)], data: 64 }), /tensor "a" has 0 dimensions/],
    [
      "five dimensions",
      file({ tensors: [tensor("a", [1, 1, 1, 1, 1], 0, 0)], data: 64 }),
      /tensor "a" has 5 dimensions/,
    ],
    [
      "a size of 0",
      file({ tensors: [tensor("a", [0], 0, 0)] }),
      /tensor "a" has an impossible size in dimension 0/,
    ],
    [
      "sizes whose product overflows",
      file({ tensors: [tensor("a", [2 ** 32, 2 ** 32], 0, 0)] }),
      /impossible size in dimension 1/,
    ],
    [
      "a size beyond 2^53",
      file({ tensors: [tensor("a", [2n ** 60n], 0, 0)] }),
      /dimension 0 of tensor "a", \d+, is too large/,
    ],
    ["an unknown kind", file({ tensors: [tensor("a", [8], 77, 0)] }), /tensor "a" is of unknown kind 77/],
    [
      "rows of no whole blocks",
      file({ tensors: [tensor("a", [33], 8, 0)] }),
      /rows of 33 entries, no whole blocks of Q8_0/,
    ],
    [
      "an offset off the grid",
      file({ tensors: [tensor("a", [8], 0, 4)], data: 64 }),
      /the offset of tensor "a", 4, is not a multiple of 32/,
    ],
    ["an end beyond the file", file({ tensors: one, data: 31 }), /tensor "a" ends at byte \d+, the file has/],
    [
      "an overlap",
      file({ tensors: [...one, tensor("b", [8], 0, 0)], data: 64 }),
      /overlaps the one before it/,
    ],
    [
      "a hole",
      file({ tensors: [...one, tensor("b", [8], 0, 64)], data: 96 }),
      /there are 32 unused bytes before tensor "b"/,
    ],
    ["a rest", file({ tensors: one, data: 64 }), /32 bytes follow the last tensor/],
  ])("%s is refused by its name", async (_, bytes, message) => {
    await expect(open(bytes)).rejects.toMatchObject({
      code: "bad_checkpoint",
      message: expect.stringMatching(message),
    });
    await expect(open(bytes)).rejects.toThrow(/^m\.gguf/);
  });
});

describe("what a model's file lacks or has otherwise", async () => {
  const whole = await folderGguf("test/fixtures/golden/llama-f32", { type: "Q8_0" });
  const opened = (change: (file: typeof whole) => Partial<typeof whole>) => {
    const tree = memoryFileTree({ "m.gguf": ggufBytes({ ...whole, ...change(whole) }) });
    return openCheckpoint(tree);
  };
  const without =
    (key: string) =>
    ({ metadata }: typeof whole) => ({
      metadata: Object.fromEntries(Object.entries(metadata).filter(([name]) => name !== key)),
    });
  const having =
    (fields: (typeof whole)["metadata"]) =>
    ({ metadata }: typeof whole) => ({
      metadata: { ...metadata, ...fields },
    });
  it.each<[string, (file: typeof whole) => Partial<typeof whole>, RegExp]>([
    ["no architecture", without("general.architecture"), /general\.architecture must be text, is missing/],
    ["no layers", without("llama.block_count"), /llama\.block_count must be a positive integer, is missing/],
    [
      "no epsilon",
      without("llama.attention.layer_norm_rms_epsilon"),
      /layer_norm_rms_epsilon must be a positive number/,
    ],
    [
      "heads of text",
      having({ "llama.attention.head_count": ["string", "6"] }),
      /head_count must be a positive integer, is "6"/,
    ],
    [
      "another architecture",
      having({ "general.architecture": ["string", "mamba"] }),
      /general\.architecture "mamba" does not run here/,
    ],
    ["a name of Object's", having({ "general.architecture": ["string", "__proto__"] }), /does not run here/],
    [
      "layers of different sizes",
      having({ "llama.feed_forward_length": ["uint32[]", [160, 96, 160]] }),
      /feed_forward_length is not supported: it differs from layer to layer/,
    ],
    [
      "another scaling",
      having({ "llama.rope.scaling.type": ["string", "ntk"] }),
      /rope\.scaling\.type is not supported: it is "ntk"/,
    ],
    [
      "an end that is no token",
      having({ "tokenizer.ggml.eos_token_id": ["uint32", 300] }),
      /eos_token_id is no id of the 300 tokens: 300/,
    ],
    ["a part of a model", having({ "split.count": ["uint16", 3] }), /is one of 3 parts of a model/],
    [
      "an adapter",
      having({ "general.type": ["string", "adapter"] }),
      /holds no model, general\.type is "adapter"/,
    ],
    [
      "no embedding",
      ({ tensors }) => ({ tensors: tensors.filter(({ name }) => name !== "token_embd.weight") }),
      /has no tensor "token_embd\.weight"/,
    ],
    [
      "a tensor of another family",
      ({ tensors }) => ({ tensors: [...tensors, { ...tensors[0], name: "blk.0.ssm_in.weight" }] }),
      /tensor "blk\.0\.ssm_in\.weight" is none that the architecture llama has/,
    ],
    [
      "heads that do not fit q",
      having({ "llama.attention.head_count": ["uint32", 3] }),
      /tensor "blk\.0\.attn_q\.weight" has 96 rows, 3 heads of 16/,
    ],
  ])("%s is refused by file and field", async (_, change, message) => {
    await expect(opened(change)).rejects.toThrow(message);
    await expect(opened(change)).rejects.toThrow(/^m\.gguf/);
  });

  it("a kind that is not read is refused by the tensor's name", async () => {
    const bytes = file({
      entries: Object.entries(whole.metadata).flatMap(([key, [type, value]]) => {
        if (type === "uint32") return [entry(key, 4, u32(value as number))];
        if (type === "float32") return [entry(key, 6, bytesOf(Float32Array.of(value as number)))];
        return type === "string" ? [entry(key, 8, text(value as string))] : [];
      }),
      tensors: [tensor("token_embd.weight", [256, 1], 10, 0)],
      data: 84,
    });
    await expect(openCheckpoint(memoryFileTree({ "m.gguf": bytes }))).rejects.toMatchObject({
      code: "unsupported_model",
      message: expect.stringMatching(/tensor "token_embd\.weight" is stored as Q2_K/),
      hint: expect.stringMatching(/Q4_K_M/),
    });
  });
});

describe("any file", async () => {
  const whole = ggufBytes(await folderGguf("test/fixtures/golden-hf/phi3", { type: "Q8_0" }));
  const headerBytes = 8000;

  /** Opens and reads all of it: a model or a TacetError, and never more memory than the file explains. */
  async function readAll(bytes: Uint8Array): Promise<"opened" | "refused"> {
    const inner = memoryFileTree({ "m.gguf": bytes });
    const tree: FileTree = {
      ...inner,
      async read(path, offset, length) {
        expect(offset >= 0 && length >= 0 && offset + length <= bytes.length).toBe(true);
        return await inner.read(path, offset, length);
      },
    };
    try {
      const checkpoint = await openCheckpoint(tree);
      for (const name of checkpoint.names) {
        const info = checkpoint.tensor(name);
        // Q4_0 has 18 bytes for 32 entries, which are 128 bytes in F32.
        expect(info.bytes).toBeLessThanOrEqual(8 * bytes.length);
        await readTensorF32(checkpoint.tree, info);
        await info.rounded?.readRows(0, info.shape[0]);
      }
      for (const name of ["tokenizer.json", "tokenizer.model", "tokenizer_config.json"])
        await checkpoint.text(name).catch((error) => {
          if (!(error instanceof TacetError)) throw error;
        });
      return "opened";
    } catch (error) {
      if (!(error instanceof TacetError)) throw error;
      return "refused";
    }
  }

  it("that is whole opens", async () => {
    expect(await readAll(whole)).toBe("opened");
  });

  it("cut off anywhere is refused", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 40), async (length) => {
        expect(await readAll(whole.slice(0, length))).toBe("refused");
      }),
      RUNS,
    );
  });

  it("with changed bytes opens or is refused", async () => {
    const change = fc.tuple(fc.nat(headerBytes), fc.nat(255));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
        const bytes = whole.slice();
        for (const [at, value] of changes) bytes[at] = value;
        await readAll(bytes);
      }),
      RUNS,
    );
  });

  it("with changed words opens or is refused", async () => {
    const extreme = fc.constantFrom(0n, 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n);
    await fc.assert(
      fc.asyncProperty(fc.nat(headerBytes), extreme, async (at, value) => {
        const bytes = whole.slice();
        new DataView(bytes.buffer).setBigUint64(at, value, true);
        await readAll(bytes);
      }),
      RUNS,
    );
  });

  it("of random bytes behind a good beginning is refused", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 400 }),
        fc.nat(3),
        fc.nat(3),
        async (rest, tensors, entries) => {
          const head = concatBytes(MAGIC, u32(3), u64(tensors), u64(entries));
          expect(await readAll(concatBytes(head, rest))).toBe("refused");
        },
      ),
      RUNS,
    );
  });
});
