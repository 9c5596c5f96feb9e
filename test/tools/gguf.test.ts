/** The GGUF writer: blocks as llama.cpp's own package encodes them, files that say what they hold. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { shapeOf } from "../../tools/checkpoint/shapes.ts";
import { BLOCKS, type BlockName, encodeBlocks } from "../../tools/gguf/blocks.ts";
import { ggufName, pairNeighbours } from "../../tools/gguf/from-checkpoint.ts";
import { seededGguf } from "../../tools/gguf/seeded-gguf.ts";
import { ggufBytes, writeGguf } from "../../tools/gguf/write-gguf.ts";
import { temporaryFolder } from "../support/models.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());
const NAMES = Object.keys(BLOCKS) as BlockName[];

/** As tools/gguf-vectors.py has them. */
const values = Float32Array.from({ length: 512 }, (_, i) =>
  i >= 480 ? 0 : (((Math.imul(i, 0x9e3779b1) >>> 0) - 2 ** 31) / 2 ** 31) * 2 ** (Math.floor(i / 32) - 8),
);

describe("blocks", () => {
  const { blocks } = JSON.parse(
    readFileSync(fileURLToPath(new URL("../vectors/gguf-blocks.json", import.meta.url)), "utf8"),
  ) as { blocks: Partial<Record<BlockName, string>> };

  it.each(NAMES.filter((name) => blocks[name] !== undefined))("%s are those of gguf-py", (name) => {
    expect(Buffer.from(encodeBlocks(values, name)).toString("hex")).toBe(blocks[name]);
  });

  it("Q8_0: a known block, within half a step", () => {
    const x = Float32Array.from({ length: 32 }, (_, i) => i - 16 + 0.25);
    x[0] = -127;
    const bytes = encodeBlocks(x, "Q8_0");
    // d = 127/127 = 1.0, then the rounded entries.
    expect([...bytes.subarray(0, 2)]).toEqual([0x00, 0x3c]);
    expect([...new Int8Array(bytes.buffer, 2)]).toEqual([-127, ...[...x.subarray(1)].map(Math.round)]);
  });

  it("Q4_0: a known block; the first half of the entries in the low bits", () => {
    const x = Float32Array.from({ length: 32 }, (_, i) => (i < 16 ? i - 8 : 7));
    const bytes = encodeBlocks(x, "Q4_0");
    // The largest is −8: d = 1.0, and codes are x + 8.
    expect([...bytes.subarray(0, 2)]).toEqual([0x00, 0x3c]);
    expect([...bytes.subarray(2)]).toEqual(Array.from({ length: 16 }, (_, i) => i | (15 << 4)));
  });

  it("refuses what is not whole blocks", () => {
    expect(() => encodeBlocks(new Float32Array(33), "Q4_0")).toThrow("not whole blocks of Q4_0");
  });
});

describe("files", () => {
  const file = {
    metadata: { "general.architecture": ["string", "x"], n: ["uint32", 7], list: ["int32[]", [1, -2]] },
    tensors: [
      { name: "a", shape: [1, 2], type: "F32", values: () => [Float32Array.of(1, 2)] },
      { name: "b", shape: [2, 32], type: "Q8_0", values: () => [new Float32Array(32), new Float32Array(32)] },
    ],
  } as const;

  it("hold header, metadata, tensors last axis first, and data at multiples of 32", () => {
    const bytes = Buffer.from(ggufBytes(file));
    const text = (value: string) =>
      Buffer.concat([Buffer.from(BigUint64Array.of(BigInt(value.length)).buffer), Buffer.from(value)]);
    const u32 = (...list: number[]) => Buffer.from(Uint32Array.from(list).buffer);
    const u64 = (...list: number[]) => Buffer.from(BigUint64Array.from(list, BigInt).buffer);
    const head = Buffer.concat([
      ...[Buffer.from("GGUF"), u32(3), u64(2, 3)],
      ...[text("general.architecture"), u32(8), text("x"), text("n"), u32(4, 7)],
      ...[text("list"), u32(9, 5), u64(2), u32(1, 2 ** 32 - 2)],
      ...[text("a"), u32(2), u64(2, 1), u32(0), u64(0)],
      ...[text("b"), u32(2), u64(32, 2), u32(8), u64(32)],
    ]);
    expect(bytes.subarray(0, head.length).equals(head)).toBe(true);
    const data = Math.ceil(head.length / 32) * 32;
    expect(bytes.readFloatLE(data + 4)).toBe(2);
    expect(bytes.length).toBe(data + 32 + 96);
  });

  it("are not left behind where a tensor has other entries than its shape says", () => {
    const [a] = file.tensors;
    const path = join(folder.path, "bad.gguf");
    expect(() => writeGguf(path, { metadata: {}, tensors: [{ ...a, shape: [3] }] })).toThrow("a: 8 bytes");
    expect(() => readFileSync(path)).toThrow();
    expect(() => readFileSync(`${path}.partial`)).toThrow();
  });
});

describe("seeded models", () => {
  it.each(["llama", "mistral", "qwen2", "qwen3", "chatglm2"])("%s is written whole", (family) => {
    const file = seededGguf(shapeOf("tiny", { family }));
    const bytes = ggufBytes(file);
    expect(Buffer.from(bytes.subarray(0, 4)).toString()).toBe("GGUF");
    const names = file.tensors.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toContain("blk.1.ffn_down.weight");
  });

  it("holds the head in more bits, rows that are not whole blocks in F16, norms in F32", () => {
    const { tensors } = seededGguf(shapeOf("tiny", { family: "chatglm2" }));
    const typeOf = (wanted: string) => tensors.find(({ name }) => name === wanted)?.type;
    expect(typeOf("output.weight")).toBe("Q8_0");
    expect(typeOf("token_embd.weight")).toBe("Q4_0");
    expect(typeOf("blk.0.ffn_down.weight")).toBe("F16");
    expect(typeOf("output_norm.weight")).toBe("F32");
  });

  it("names what it cannot write", () => {
    expect(() => seededGguf(shapeOf("tiny", { family: "gpt2" }))).toThrow("no GGUF of the family gpt2");
    expect(() => ggufName("model.layers.0.mlp.other.weight")).toThrow("has no name in GGUF");
  });

  it("pairs rows as llama.cpp turns them: 0, d/2, 1, d/2 + 1, in each head", () => {
    const rows = Float32Array.from({ length: 16 }, (_, i) => i);
    expect([...pairNeighbours(rows, 8, 2)]).toEqual([0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]);
  });

  it("the tool writes one, and refuses to overwrite it", () => {
    const tool = fileURLToPath(new URL("../../tools/make-checkpoint.mjs", import.meta.url));
    const args = [tool, "--family", "qwen3", "--gguf", join(folder.path, "tool.gguf"), "--gguf-type", "f16"];
    expect(spawnSync(process.execPath, args).status).toBe(0);
    expect(spawnSync(process.execPath, args, { encoding: "utf8" }).stderr).toContain("tool.gguf exists");
  });
});
