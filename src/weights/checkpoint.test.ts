import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { utf8 } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import { nodeFileTree } from "../platform/node/files/file-tree.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { memoryFileTree } from "./memory-files.ts";
import { encodeSafetensors, readTensorF32 } from "./safetensors.ts";

const config = utf8('{"model_type":"llama"}');
const oneTensor = (name: string) =>
  encodeSafetensors([{ name, dtype: "F32", shape: [1], data: new Uint8Array(4) }]);
const index = (map: unknown) => utf8(JSON.stringify({ metadata: {}, weight_map: map }));

async function errorOf(files: Record<string, Uint8Array>): Promise<TacetError> {
  const error = await openCheckpoint(memoryFileTree(files, "folder")).then(
    () => undefined,
    (thrown) => thrown,
  );
  expect(error).toBeInstanceOf(TacetError);
  expect(error.code).toBe("bad_checkpoint");
  return error;
}

describe("openCheckpoint", () => {
  it("opens one file", async () => {
    const checkpoint = await openCheckpoint(nodeFileTree("test/fixtures/golden/llama-f32"));
    expect(checkpoint.config.hidden_size).toBe(96);
    expect(checkpoint.names.length).toBe(3 * 9 + 3);
    expect(checkpoint.tensor("lm_head.weight").shape).toEqual([300, 96]);
    expect(checkpoint.has("lm_head.bias")).toBe(false);
    expect(() => checkpoint.tensor("lm_head.bias")).toThrow(/no tensor "lm_head.bias"/);
    expect(await checkpoint.json("tokenizer.json")).toBeUndefined();
    expect(await checkpoint.json("expected.json")).toHaveProperty("greedy_ids");
  });

  it("says that a file is a Git LFS pointer, whichever it is", async () => {
    const pointer = utf8("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345678\n");
    for (const name of ["config.json", "model.safetensors"]) {
      const files = { "config.json": config, "model.safetensors": oneTensor("a"), [name]: pointer };
      const error = await errorOf(files);
      expect(error.message).toBe(`${name} is a Git LFS pointer, not the file itself`);
      expect(error.hint).toMatch(/git lfs pull/);
    }
    const checkpoint = await openCheckpoint(
      memoryFileTree({
        "config.json": config,
        "model.safetensors": oneTensor("a"),
        "tokenizer.json": pointer,
      }),
    );
    await expect(checkpoint.json("tokenizer.json")).rejects.toMatchObject({
      message: expect.stringMatching(/LFS pointer/),
    });
  });

  it("reads the numbers that Python writes into JSON, and no others", async () => {
    const read = async (text: string) =>
      (
        await openCheckpoint(
          memoryFileTree({ "config.json": utf8(text), "model.safetensors": oneTensor("a") }),
        )
      ).config;
    expect(await read('{"a": [0.0, Infinity, -Infinity, NaN], "b": "NaN, Infinity \\" -Infinity"}')).toEqual({
      a: [0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN],
      b: 'NaN, Infinity " -Infinity',
    });
    for (const text of [
      '{"a": Infinit}',
      '{"a": -NaN}',
      '{"a": NaN',
      '{"a": Infinity1}',
      '{"a": +Infinity}',
    ]) {
      expect(
        (await errorOf({ "config.json": utf8(text), "model.safetensors": oneTensor("a") })).message,
      ).toMatch(/is not JSON/);
    }
  });

  it.each<[string, Record<string, unknown>, "F32" | "F8_E4M3" | "U32", RegExp]>([
    [
      "bitsandbytes",
      { quantization_config: { quant_method: "bitsandbytes", load_in_4bit: true } },
      "F32",
      /bitsandbytes, 4 bits/,
    ],
    [
      "compressed-tensors",
      { quantization_config: { quant_method: "compressed-tensors", format: "pack-quantized" } },
      "F32",
      /compressed-tensors/,
    ],
    [
      "compressed-tensors, as older files say it",
      { compression_config: { format: "float-quantized" } },
      "F32",
      /holds quantized/,
    ],
    ["FP8, by its configuration", { quantization_config: { quant_method: "fp8" } }, "F8_E4M3", /fp8/],
    ["FP8, by its tensors", {}, "F8_E4M3", /"a\.weight" is stored as F8_E4M3/],
    ["MLX", { quantization: { group_size: 64, bits: 4 } }, "U32", /MLX, 4 bits/],
  ])("refuses %s, and says what to give instead", async (_, fields, dtype, message) => {
    const bytes = dtype === "F8_E4M3" ? 1 : 4;
    const files = {
      "config.json": utf8(JSON.stringify({ model_type: "llama", ...fields })),
      "model.safetensors": encodeSafetensors([
        { name: "a.weight", dtype, shape: [1], data: new Uint8Array(bytes) },
      ]),
    };
    for (const [label, sibling] of [
      ["unsloth/llama-3-8b-bnb-4bit", "unsloth/llama-3-8b,"],
      ["Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "Qwen/Qwen2.5-7B-Instruct,"],
      ["mlx-community/Qwen3-8B-4bit", "mlx-community/Qwen3-8B,"],
      ["/c/hub/models--Qwen--Qwen3-8B-AWQ/snapshots/0123abc", "Qwen/Qwen3-8B,"],
      ["folder", "the model that it was quantized from"],
    ]) {
      await expect(openCheckpoint(memoryFileTree(files, label))).rejects.toMatchObject({
        code: "unsupported_model",
        message: expect.stringMatching(message),
        hint: expect.stringMatching(`give ${sibling}`),
      });
    }
  });

  it("opens shards", async () => {
    const checkpoint = await openCheckpoint(nodeFileTree("test/fixtures/golden/llama-bf16-sharded"));
    expect(checkpoint.names.length).toBe(3 * 9 + 2);
    const files = new Set(checkpoint.names.map((name) => checkpoint.tensor(name).path));
    expect(files.size).toBe(2);
    const norm = await readTensorF32(checkpoint.tree, checkpoint.tensor("model.norm.weight"));
    expect(norm.length).toBe(120);
    expect(norm.every(Number.isFinite)).toBe(true);
  });

  it("names what is missing", async () => {
    expect((await errorOf({})).message).toMatch(/no config.json/);
    expect((await errorOf({ "config.json": config })).message).toMatch(/neither model.safetensors nor/);
    const shards = index({ a: "model-1.safetensors", b: "model-2.safetensors" });
    const files = {
      "config.json": config,
      "model.safetensors.index.json": shards,
      "model-1.safetensors": oneTensor("a"),
    };
    expect((await errorOf(files)).message).toMatch(/no model-2.safetensors/);
    expect((await errorOf({ ...files, "model-2.safetensors": oneTensor("c") })).message).toMatch(
      /model-2.safetensors has no tensor "b"/,
    );
  });

  it("refuses pickles", async () => {
    const error = await errorOf({ "config.json": config, "pytorch_model.bin": new Uint8Array(8) });
    expect(error.message).toMatch(/pickle/);
    expect(error.hint).toMatch(/safetensors/);
  });

  it.each([
    "../other.safetensors",
    "/etc/passwd",
    "a/b.safetensors",
    "a\\b.safetensors",
    "x.bin",
    "",
    7,
    null,
  ])("refuses an index that points at %j", async (path) => {
    expect(
      (await errorOf({ "config.json": config, "model.safetensors.index.json": index({ a: path }) })).message,
    ).toMatch(/"a"/);
  });

  it("refuses configurations that can be read in two ways", async () => {
    const weights = { "model.safetensors": oneTensor("a") };
    expect((await errorOf({ ...weights, "config.json": utf8('{"a":1,"a":2}') })).message).toMatch(/twice/);
    expect(
      (await errorOf({ ...weights, "config.json": utf8('{"rope_scaling":{"__proto__":{}}}') })).message,
    ).toMatch(/__proto__/);
    expect((await errorOf({ ...weights, "config.json": utf8("[1]") })).message).toMatch(/JSON object/);
    expect((await errorOf({ ...weights, "config.json": Uint8Array.of(0x7b, 0xff, 0x7d) })).message).toMatch(
      /UTF-8/,
    );
  });

  it("keeps equal keys in different objects apart", async () => {
    const text = '{"a":{"a":[{"a":1},{"a":"a","b":["a",{"a":2}]}]},"b":"\\"a\\\\"}';
    const checkpoint = await openCheckpoint(
      memoryFileTree({ "config.json": utf8(text), "model.safetensors": oneTensor("a") }),
    );
    expect(checkpoint.config).toEqual(JSON.parse(text));
  });

  it("throws nothing but TacetError on any config and index", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.json(),
          fc.string(),
          fc.jsonValue().map((value) => JSON.stringify({ weight_map: value })),
        ),
        async (text) => {
          for (const files of [
            { "config.json": utf8(text), "model.safetensors": oneTensor("a") },
            { "config.json": config, "model.safetensors.index.json": utf8(text) },
          ]) {
            await openCheckpoint(memoryFileTree(files)).catch((error) =>
              expect(error).toBeInstanceOf(TacetError),
            );
          }
        },
      ),
      { numRuns: process.env.SLOW ? 5000 : 200 },
    );
  });
});
