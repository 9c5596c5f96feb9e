/**
 * Folders that someone else made: any change of a real adapter's header, bytes or configuration gives an adapter or a
 * TacetError, reads no byte twice, and takes no more memory than the file is large (twice that for 16-bit weights).
 */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { utf8 } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import type { FileTree } from "../base/platform.ts";
import { openLoraAdapter } from "./lora-adapter.ts";
import { memoryFileTree } from "./memory-files.ts";

const RUNS = { numRuns: process.env.SLOW ? 20_000 : 300 };
const FOLDER = "test/fixtures/golden/llama-bf16-sharded/adapter";
const WEIGHTS = readFileSync(`${FOLDER}/adapter_model.safetensors`);
const CONFIG = JSON.parse(readFileSync(`${FOLDER}/adapter_config.json`, "utf8")) as Record<string, unknown>;
const HEADER_BYTES = Number(WEIGHTS.readBigUInt64LE(0));
const HEADER = WEIGHTS.toString("utf8", 8, 8 + HEADER_BYTES);

/** Opens the folder; checks what is read against the sizes of the files. */
async function open(config: Uint8Array, weights: Uint8Array): Promise<"opened" | "refused"> {
  const files = { "adapter_config.json": config, "adapter_model.safetensors": weights };
  const inner = memoryFileTree(files);
  let read = 0;
  const tree: FileTree = {
    ...inner,
    async read(path, offset, length) {
      const { length: size } = files[path as keyof typeof files];
      expect(offset >= 0 && length >= 0 && offset + length <= size).toBe(true);
      read += length;
      return await inner.read(path, offset, length);
    },
  };
  try {
    const { modules } = await openLoraAdapter(tree);
    let taken = 0;
    for (const { a, b, scale } of modules.values()) {
      taken += a.byteLength + b.byteLength;
      expect(Number.isFinite(scale)).toBe(true);
    }
    expect(taken).toBeLessThanOrEqual(2 * weights.length);
    return "opened";
  } catch (error) {
    if (!(error instanceof TacetError)) throw error;
    return "refused";
  } finally {
    expect(read).toBeLessThanOrEqual(config.length + weights.length);
  }
}

function fileWith(header: string, length = Buffer.byteLength(header)): Uint8Array {
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt.asUintN(64, BigInt(length)));
  return Buffer.concat([prefix, Buffer.from(header), WEIGHTS.subarray(8 + HEADER_BYTES)]);
}

const json = (value: unknown) => utf8(JSON.stringify(value));
const wholeConfig = json(CONFIG);

it("the adapter as it is opens", async () => {
  expect(await open(wholeConfig, WEIGHTS)).toBe("opened");
  expect(await open(wholeConfig, fileWith(HEADER))).toBe("opened");
});

describe("headers", () => {
  it("with a number replaced", async () => {
    const numbers = [...HEADER.matchAll(/\d+/g)];
    const values = fc.oneof(
      fc.constantFrom("0", "-1", "1e400", "1.5", "4294967296", "9007199254740993", "null", "[]", '"1"'),
      fc.maxSafeInteger().map(String),
    );
    await fc.assert(
      fc.asyncProperty(fc.nat(numbers.length - 1), values, async (which, value) => {
        const { index, 0: old } = numbers[which];
        await open(wholeConfig, fileWith(HEADER.slice(0, index) + value + HEADER.slice(index + old.length)));
      }),
      RUNS,
    );
  });

  it("with a piece cut out, doubled or replaced", async () => {
    const place = fc.nat(HEADER.length);
    const pieces = fc.oneof(
      fc.string({ maxLength: 8 }),
      fc.constantFrom("F64", "I8", "{", "}", "__metadata__", "\u0000"),
    );
    await fc.assert(
      fc.asyncProperty(place, fc.nat(60), fc.nat(60), pieces, async (at, cut, repeat, piece) => {
        const end = at + cut;
        await open(
          wholeConfig,
          fileWith(HEADER.slice(0, at) + piece + HEADER.slice(at, at + repeat) + HEADER.slice(end)),
        );
      }),
      RUNS,
    );
  });

  it("of another length than the prefix says, and files that end early", async () => {
    const lengths = fc.oneof(
      fc.nat(2 * WEIGHTS.length),
      fc.maxSafeInteger(),
      fc.constantFrom(2 ** 31, 2 ** 32, 2 ** 53),
    );
    await fc.assert(
      fc.asyncProperty(lengths, fc.nat(WEIGHTS.length), async (length, end) => {
        await open(wholeConfig, fileWith(HEADER, length));
        await open(wholeConfig, WEIGHTS.subarray(0, end));
      }),
      RUNS,
    );
  });

  it("of any tensors at all", async () => {
    const name = fc.oneof(
      fc
        .constantFrom("lora_A", "lora_B")
        .map((side) => `base_model.model.model.layers.0.self_attn.q_proj.${side}.weight`),
      fc.string({ maxLength: 40 }),
    );
    const count = fc.oneof(fc.nat(20), fc.constantFrom(2 ** 31, 2 ** 40, Number.MAX_SAFE_INTEGER));
    const entry = fc.record({
      dtype: fc.constantFrom("F32", "F16", "BF16", "I8", "F4", "F8_E5M2", "BOOL"),
      shape: fc.array(count, { maxLength: 3 }),
      data_offsets: fc.tuple(count, count),
    });
    await fc.assert(
      fc.asyncProperty(fc.dictionary(name, entry, { maxKeys: 4 }), async (tensors) => {
        await open(wholeConfig, fileWith(JSON.stringify(tensors)));
      }),
      RUNS,
    );
  });
});

describe("configurations", () => {
  it("with a field replaced by anything", async () => {
    const field = fc.oneof(
      fc.constantFrom(...Object.keys(CONFIG), "layers_to_transform", "exclude_modules", "target_parameters"),
      fc.string(),
    );
    const value = fc.oneof(
      fc.jsonValue({ maxDepth: 3 }),
      fc.constantFrom<unknown>(-1, 0, 1.5, 1e308, 2 ** 31, "all-linear", [], [""], { "": 4 }),
    );
    await fc.assert(
      fc.asyncProperty(field, value, async (name, replaced) => {
        await open(json({ ...CONFIG, [name]: replaced }), WEIGHTS);
      }),
      RUNS,
    );
  });

  it("with any regular expression", async () => {
    const part = fc.constantFrom(
      "a",
      ".",
      ".*",
      "q",
      "\\d",
      "[a-z]",
      "(",
      ")",
      "|",
      "*",
      "+",
      "?",
      "{2,}",
      "\\.",
      "(?:",
      "^",
      "$",
    );
    const expression = fc.array(part, { maxLength: 30 }).map((parts) => parts.join(""));
    const field = fc.constantFrom("target_modules", "exclude_modules", "layers_pattern");
    await fc.assert(
      fc.asyncProperty(field, expression, async (name, source) => {
        await open(json({ ...CONFIG, layers_to_transform: [0, 1, 2], [name]: source }), WEIGHTS);
        await open(json({ ...CONFIG, rank_pattern: { [source]: 8 } }), WEIGHTS);
      }),
      RUNS,
    );
  });
});
