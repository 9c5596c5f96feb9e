/** The tool that makes seeded checkpoints: what it writes opens, fits together, and is the same every time. */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { fitAdapter } from "../../src/model/adapter/fit-adapter.ts";
import { nodeFileTree } from "../../src/platform/node.ts";
import { type Checkpoint, openCheckpoint } from "../../src/weights/checkpoint.ts";
import { openLoraAdapter } from "../../src/weights/lora-adapter.ts";
import { readTensorF32 } from "../../src/weights/safetensors.ts";
import { FAMILIES, shapeOf } from "../../tools/checkpoint/shapes.ts";
import { tensorsOf } from "../../tools/checkpoint/tensors.ts";
import { writeAdapter, writeCheckpoint } from "../../tools/checkpoint/write.ts";
import { temporaryFolder } from "../support/models.ts";
import { ADAPTABLE, seededModel } from "../support/seeded-models.ts";

const TOOL = fileURLToPath(new URL("../../tools/make-checkpoint.mjs", import.meta.url));
const folder = temporaryFolder();
afterAll(() => folder.remove());
const inside = (name: string) => join(folder.path, name);
const read = (checkpoint: Checkpoint, name: string) =>
  readTensorF32(checkpoint.tree, checkpoint.tensor(name));

describe.each(FAMILIES)("%s", (family) => {
  it("opens, with an adapter on every module that fits", async () => {
    const made = seededModel(folder.path, family);
    const checkpoint = await openCheckpoint(nodeFileTree(made.base));
    expect(checkpoint.names.length).toBe(tensorsOf(made.shape).tensors.length);
    const adapter = await openLoraAdapter(nodeFileTree(made.adapter("all")));
    expect(adapter.modules.size).toBe(tensorsOf(made.shape).linears.length);
    await fitAdapter(adapter, checkpoint);
  });

  it("has entries of the size that keeps activations sane", async () => {
    const { tensors } = tensorsOf(shapeOf("tiny", { family }));
    const checkpoint = await openCheckpoint(nodeFileTree(inside(family)));
    for (const { name, mean, std, values } of tensors) {
      const found = await read(checkpoint, name);
      if (values) expect(found).toEqual(values);
      if (values || found.length < 1000) continue;
      const average = found.reduce((sum, x) => sum + x, 0) / found.length;
      const variance = found.reduce((sum, x) => sum + (x - average) ** 2, 0) / found.length;
      expect(Math.abs(average - mean), name).toBeLessThan((6 * std) / Math.sqrt(found.length));
      expect(Math.sqrt(variance) / std, name).toBeCloseTo(1, 0.9);
    }
  });
});

it("gives the same bytes for the same options, others for another seed", () => {
  const digest = (dir: string) => {
    const hash = createHash("sha256");
    for (const name of readdirSync(dir).sort()) hash.update(name).update(readFileSync(join(dir, name)));
    return hash.digest("hex");
  };
  const shape = shapeOf("tiny", { family: "chatglm2" });
  for (const [name, seed] of Object.entries({ one: "x", same: "x", other: "y" })) {
    writeCheckpoint(inside(name), shape, { seed, type: "F16" });
    writeAdapter(inside(`${name}-adapter`), shape, { modules: ["dense"], seed });
  }
  expect(digest(inside("one"))).toBe(digest(inside("same")));
  expect(digest(inside("one-adapter"))).toBe(digest(inside("same-adapter")));
  expect(digest(inside("one"))).not.toBe(digest(inside("other")));
  expect(digest(inside("one-adapter"))).not.toBe(digest(inside("other-adapter")));
});

it("spreads the same tensors over files, and rounds the same values to 16 bits", async () => {
  const shape = shapeOf("tiny", { family: "llama" });
  writeCheckpoint(inside("whole"), shape);
  writeCheckpoint(inside("sharded"), shape, { shards: 3 });
  writeCheckpoint(inside("half"), shape, { type: "BF16" });
  const [whole, sharded, half] = await Promise.all(
    ["whole", "sharded", "half"].map((name) => openCheckpoint(nodeFileTree(inside(name)))),
  );
  expect(readdirSync(inside("sharded")).filter((name) => name.endsWith(".safetensors"))).toHaveLength(3);
  expect(sharded.names).toEqual(whole.names);
  for (const name of whole.names) {
    const values = await read(whole, name);
    expect(await read(sharded, name)).toEqual(values);
    const rounded = await read(half, name);
    expect(values.every((value, i) => Math.abs(rounded[i] - value) <= 2 ** -8 * Math.abs(value))).toBe(true);
  }
});

it("replaces nothing, and clears away what an interrupted run left", () => {
  const out = inside("twice");
  mkdirSync(join(`${out}.partial`, "left"), { recursive: true });
  const shape = shapeOf("tiny", { layers: 1 });
  writeCheckpoint(out, shape);
  expect(readdirSync(out).sort()).toEqual(["config.json", "model.safetensors"]);
  expect(readdirSync(folder.path)).not.toContain("twice.partial");
  expect(() => writeCheckpoint(out, shape)).toThrow(/exists/);
});

it("knows the published shapes", () => {
  const millions = (name: string) => {
    const { tensors } = tensorsOf(shapeOf(name));
    const count = tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b), 0);
    return Math.round(count / 1e6);
  };
  expect(millions("chatglm2-6b")).toBe(6244); // 6.24 billion parameters
  expect(millions("qwen2.5-0.5b")).toBe(494); // 0.49 billion
});

describe("command line", () => {
  it("writes a base and an adapter", async () => {
    const args = ["--family", "qwen2", "--layers", "1", "--dtype", "f16", "--out", inside("cli")];
    args.push("--adapter", inside("cli-adapter"), "--adapter-modules", "q_proj,down_proj", "--rank", "4");
    execFileSync(process.execPath, [TOOL, ...args]);
    const checkpoint = await openCheckpoint(nodeFileTree(inside("cli")));
    expect(checkpoint.config).toMatchObject({ num_hidden_layers: 1, torch_dtype: "float16" });
    const adapter = await openLoraAdapter(nodeFileTree(inside("cli-adapter")));
    expect([...adapter.modules.values()].map(({ rank }) => rank)).toEqual([4, 4]);
    await fitAdapter(adapter, checkpoint);
  });

  it.each([
    [["--out", "x", "--shape", "huge"], "unknown shape huge"],
    [["--out", "x", "--family", "bert"], "unknown family bert"],
    [["--out", "x", "--layers", "0"], "--layers is not a positive number"],
    [["--adapter", "x"], "belong together"],
    [["--adapter", "x", "--adapter-modules", "nope"], "llama has no module nope: it has q_proj"],
    [[], "give --out, --gguf or --adapter"],
  ])("refuses %j", (args, message) => {
    const { status, stderr } = spawnSync(process.execPath, [TOOL, ...args], {
      cwd: folder.path,
      encoding: "utf8",
    });
    expect(status).toBe(2);
    expect(stderr).toContain(`error: `);
    expect(stderr).toContain(message);
    expect(stderr).toContain("hint: ");
  });
});

it("names every adaptable module of the tiny shapes", () => {
  for (const family of FAMILIES) {
    const found = tensorsOf(shapeOf("tiny", { family })).linears.map(({ name }) => name.split(".").at(-1));
    expect([...ADAPTABLE[family]].sort()).toEqual([...new Set(found)].sort());
  }
});
