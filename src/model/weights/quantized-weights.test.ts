import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { TacetError } from "../../base/errors.ts";
import type { FileCache, TensorRuntime } from "../../base/platform.ts";
import { nodeTensorRuntime } from "../../platform/node/tensors.ts";
import { nodeFileCache, nodeFileTree } from "../../platform/node.ts";
import { NO_CHANGES } from "../../weights/base-changes.ts";
import { openCheckpoint } from "../../weights/checkpoint.ts";
import { type BlockForm, blocksOf, bytesOfBlock, zeroPointBytes } from "../../weights/quantize-blocks.ts";
import {
  encodeSafetensors,
  openSafetensors,
  readTensorBytes,
  readTensorF32,
  type TensorInfo,
} from "../../weights/safetensors.ts";
import { CausalLm } from "../causal-lm.ts";
import type { LoadOptions } from "../load-options.ts";
import { ChangesInUse } from "../graph/changes-in-use.ts";
import { matrixProduct } from "../graph/matrix-product.ts";
import { SegmentBuilder } from "../graph/segment-builder.ts";
import type { Matrix } from "./weight-source.ts";

const golden = (name: string) =>
  fileURLToPath(new URL(`../../../test/fixtures/golden/${name}`, import.meta.url));
const runtime = nodeTensorRuntime();

let dir: string;
let cacheDir: string;
let cache: FileCache;
const models: CausalLm[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "tacet-quantized-"));
  cacheDir = join(dir, "cache");
  cache = nodeFileCache(cacheDir);
});
afterEach(async () => {
  await Promise.all(models.splice(0).map((model) => model.dispose()));
  rmSync(dir, { recursive: true, force: true });
});

async function load(base: string, options: LoadOptions = {}): Promise<CausalLm> {
  const checkpoint = await openCheckpoint(nodeFileTree(base));
  const model = await CausalLm.load(checkpoint, runtime, { weightCache: cache, ...options });
  models.push(model);
  return model;
}

const IDS = [1, 5, 9, 2, 30, 7, 11];
const logitsOf = async (model: CausalLm) => await model.forward(IDS, model.newCache());

function rms(values: ArrayLike<number>): number {
  return Math.sqrt(Array.from(values).reduce((sum, v) => sum + v * v, 0) / values.length);
}

/** Of the difference, relative to the second. */
function distance(got: Float32Array, want: Float32Array): number {
  return rms(got.map((v, i) => v - want[i])) / rms(want);
}

/** The format read back from its definition. */
function dequantize(
  codes: Uint8Array,
  scales: Float32Array,
  columns: number,
  form: BlockForm,
  zeroPoints?: Uint8Array,
): Float32Array {
  const { bits, block } = form;
  const blocks = blocksOf(columns, form);
  const zeroOf = (b: number): number => {
    if (!zeroPoints) return 2 ** (bits - 1);
    const at = (Math.floor(b / blocks) * zeroPointBytes(columns, form) * 8) / bits + (b % blocks);
    return bits === 8 ? zeroPoints[at] : (zeroPoints[at >> 1] >> (4 * (at & 1))) & 15;
  };
  return Float32Array.from({ length: (scales.length / blocks) * columns }, (_, i) => {
    const column = i % columns;
    const b = Math.floor(i / columns) * blocks + Math.floor(column / block);
    const bit = (column % block) * bits;
    const byte = codes[b * bytesOfBlock(form) + (bit >> 3)];
    return scales[b] * (((byte >> (bit & 7)) & (2 ** bits - 1)) - zeroOf(b));
  });
}

/** As the shape of the codes says. */
function formOf({ shape: [, blocks, bytes] }: TensorInfo, columns: number): BlockForm {
  const block = ([32, 64, 128] as const).find((size) => Math.ceil(columns / size) === blocks)!;
  return { block, bits: bytes === block ? 8 : 4 };
}

/** A folder whose matrices are what the quantized copy says, in F32. */
async function dequantizedFolder(base: string): Promise<string> {
  const out = join(dir, "dequantized");
  cpSync(base, out, { recursive: true });
  for (const name of readdirSync(out)) if (name.startsWith("model")) rmSync(join(out, name));
  const { tensors } = await openSafetensors(cache.files, readdirSync(cacheDir)[0]);
  const checkpoint = await openCheckpoint(nodeFileTree(base));
  const values = new Map<string, Float32Array>();
  for (const name of checkpoint.names) {
    values.set(name, await readTensorF32(checkpoint.tree, checkpoint.tensor(name)));
  }
  for (const [name, info] of tensors) {
    if (!name.endsWith(" codes")) continue;
    const key = name.slice(0, -" codes".length);
    const scales = await readTensorF32(cache.files, tensors.get(`${key} scales`)!);
    const codes = await readTensorBytes(cache.files, info);
    const columns = checkpoint.tensor(key.split("+")[0]).shape[1];
    const whole = dequantize(codes, scales, columns, formOf(info, columns));
    let at = 0;
    for (const part of key.split("+")) {
      const { length } = values.get(part)!;
      // A tied head is rounded, the embedding is not: the head gets a separate tensor below.
      if (part === "model.embed_tokens.weight") values.set("lm_head.weight", whole);
      else values.set(part, whole.subarray(at, at + length));
      at += length;
    }
  }
  const config = JSON.parse(readFileSync(join(out, "config.json"), "utf8"));
  writeFileSync(join(out, "config.json"), JSON.stringify({ ...config, tie_word_embeddings: false }));
  const encoded = [...values].map(([name, data]) => ({
    name,
    dtype: "F32" as const,
    shape:
      name === "lm_head.weight"
        ? checkpoint.tensor("model.embed_tokens.weight").shape
        : checkpoint.tensor(name).shape,
    data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  }));
  writeFileSync(join(out, "model.safetensors"), encodeSafetensors(encoded));
  return out;
}

describe.each(["llama-f32", "llama-bf16-sharded"])("%s", (name) => {
  it.each(["int4", "int8"] as const)(
    "%s: the model computes with the weights that the copy says",
    async (weights) => {
      const quantized = await logitsOf(await load(golden(name), { weights }));
      const reference = await logitsOf(await load(await dequantizedFolder(golden(name))));
      // What is left is the rounding of activations to 8 bits.
      expect(distance(quantized, reference)).toBeLessThan(0.05);
      const original = await logitsOf(await load(golden(name)));
      expect(distance(quantized, original)).toBeLessThan(weights === "int8" ? 0.05 : 0.5);
    },
  );
});

describe("a product", () => {
  const K = 200;
  const outFeatures = [3, 5];
  const rows = 8;
  const forms = ([32, 64, 128] as const).flatMap((block) =>
    ([4, 8] as const).flatMap((bits) =>
      [false, true].map((hasZeroPoints) => ({ bits, block, hasZeroPoints })),
    ),
  );

  /** Any codes, scales and zero points. */
  function anyRows(form: BlockForm): { codes: Uint8Array; scales: Float32Array; zeroPoints: Uint8Array } {
    const blocks = blocksOf(K, form);
    const bytes = (length: number, step: number) =>
      Uint8Array.from({ length }, (_, i) => (i * step + (i >> 3)) & 255);
    return {
      codes: bytes(rows * blocks * bytesOfBlock(form), 37),
      scales: Float32Array.from({ length: rows * blocks }, (_, i) => Math.sin(i + 1)),
      zeroPoints: bytes(rows * zeroPointBytes(K, form), 91),
    };
  }

  it.each(forms)(
    "$bits bits, blocks of $block, zero points $hasZeroPoints: is that of the dequantized weights",
    async (form) => {
      const { codes, scales, zeroPoints } = anyRows(form);
      const want = dequantize(codes, scales, K, form, form.hasZeroPoints ? zeroPoints : undefined);
      const blocks = blocksOf(K, form);
      const tensors = [
        { name: "c", dtype: "U8" as const, shape: [rows, blocks, bytesOfBlock(form)], data: codes },
        { name: "s", dtype: "F32" as const, shape: [rows, blocks], data: new Uint8Array(scales.buffer) },
        { name: "z", dtype: "U8" as const, shape: [zeroPoints.length], data: zeroPoints },
      ];
      writeFileSync(join(dir, "w.safetensors"), encodeSafetensors(tensors));
      const tree = nodeFileTree(dir);
      const file = await openSafetensors(tree, "w.safetensors");
      const info = (name: string) => file.tensors.get(name)!;
      const points = { ...info("z"), shape: [rows, zeroPoints.length / rows] };
      const builder = new SegmentBuilder(
        {
          tensor: () => expect.unreachable(),
          quantized: () => ({
            ...{ tree, form, codes: info("c"), scales: info("s") },
            ...(form.hasZeroPoints ? { zeroPoints: points } : {}),
          }),
        },
        {
          ...{ groupAt: new Map(), pairable: new Set(), loras: new Set() },
          changes: new ChangesInUse(NO_CHANGES),
        },
      );
      const matrix: Matrix = { tensors: ["a", "b"], outFeatures, inFeatures: K };
      const x = builder.given("x", "float32", [1, "tokens", K]);
      builder.expose(matrixProduct(builder, matrix, x, { dims: [1, "tokens", rows], name: "y" }));
      const [{ graph }] = builder.finish();
      const session = await runtime.createSession(graph.encode());
      // Unit vectors: they are rounded to 8 bits without error, and give the columns. Many at a time, and one alone.
      for (const tokens of [K, 1]) {
        const units = Float32Array.from({ length: tokens * K }, (_, i) => (i % (K + 1) === 0 ? 1 : 0));
        const { y } = await session.run({ x: { type: "float32", dims: [1, tokens, K], data: units } });
        const got = y.data as Float32Array;
        for (let row = 0; row < rows; row++) {
          for (let column = 0; column < tokens; column++) {
            const value = want[row * K + column];
            expect(Math.abs(got[column * rows + row] - value)).toBeLessThan(1e-4 * (1 + Math.abs(value)));
          }
        }
      }
      await session.dispose();
    },
  );
});

describe("matrices stored (in, out)", () => {
  it.each(["int4", "int8"] as const)("%s: are turned when they are rounded", async (weights) => {
    const gpt2 = golden("gpt2-f32");
    const original = await logitsOf(await load(gpt2));
    expect(distance(await logitsOf(await load(gpt2, { weights })), original)).toBeLessThan(
      weights === "int8" ? 0.05 : 0.5,
    );
  });
});

describe("the copy on disk", () => {
  const base = golden("llama-f32");
  const file = () => join(cacheDir, readdirSync(cacheDir)[0]);

  it("is made once, and checked on each later load", async () => {
    const steps = new Set<string>();
    const onPrepare = ({ step, fraction }: { step: string; fraction: number }) => {
      expect(fraction).toBeGreaterThan(0);
      expect(fraction).toBeLessThanOrEqual(1);
      steps.add(step);
    };
    const first = await logitsOf(await load(base, { weights: "int4", onPrepare }));
    expect([...steps]).toEqual(["quantizing"]);
    const bytes = readFileSync(file());
    steps.clear();
    expect(await logitsOf(await load(base, { weights: "int4", onPrepare }))).toEqual(first);
    expect([...steps]).toEqual(["checking"]);
    expect(bytes.equals(readFileSync(file()))).toBe(true);
    await load(base, { weights: "int8" });
    expect(readdirSync(cacheDir)).toHaveLength(2);
  });

  it("holds all that a pass uses: the original is not opened again", async () => {
    const copy = join(dir, "copy");
    cpSync(base, copy, { recursive: true });
    const checkpoint = await openCheckpoint(nodeFileTree(copy));
    const options = { weights: "int4", weightCache: cache } as const;
    const model = await CausalLm.load(checkpoint, runtime, options);
    models.push(model);
    const logits = await logitsOf(model);
    const used = runtime;
    const opened: string[] = [];
    const watching = {
      createSession: (onnx: Parameters<typeof used.createSession>[0]) => {
        for (const { tree, path } of onnx.externalFiles) opened.push(tree.nativePath(path)!);
        return used.createSession(onnx);
      },
    };
    const again = await CausalLm.load(checkpoint, watching, options);
    models.push(again);
    expect(await logitsOf(again)).toEqual(logits);
    expect(new Set(opened)).toEqual(new Set([file()]));
  });

  it("answers nobody before the check is over, and is loaded meanwhile", async () => {
    const first = await logitsOf(await load(base, { weights: "int4" }));
    const { checked, tell } = tellsItself();
    const { watching, made, disposed } = watchedRuntime();
    const checkpoint = await openCheckpoint(nodeFileTree(base));
    let isLoaded = false;
    const loading = CausalLm.load(checkpoint, watching, { weights: "int4", weightCache: checked }).then(
      (model) => {
        isLoaded = true;
        models.push(model);
        return model;
      },
    );
    await vi.waitFor(() => expect(made()).toBe(1), { timeout: 60_000 });
    await new Promise(setImmediate);
    expect(isLoaded).toBe(false);
    tell(true);
    expect(await logitsOf(await loading)).toEqual(first);
    expect(disposed()).toBe(0);
  });

  it("is dropped with all that was made of it when the check says at last that it is damaged", async () => {
    const first = await logitsOf(await load(base, { weights: "int4" }));
    const { checked, tell } = tellsItself();
    const { watching, made, disposed } = watchedRuntime();
    const checkpoint = await openCheckpoint(nodeFileTree(base));
    const warnings: string[] = [];
    const loading = CausalLm.load(checkpoint, watching, {
      weights: "int4",
      weightCache: checked,
      onWarning: (message) => warnings.push(message),
    });
    await vi.waitFor(() => expect(made()).toBe(1), { timeout: 60_000 });
    rmSync(file());
    tell(false);
    const model = await loading;
    models.push(model);
    expect(await logitsOf(model)).toEqual(first);
    expect([made(), disposed()]).toEqual([2, 1]);
    expect(warnings).toEqual([expect.stringMatching(/damaged and are made again/)]);
  });

  it("is dropped when it cannot be read to its end, or nobody waits any more", async () => {
    await load(base, { weights: "int4" });
    for (const error of [new TacetError("io_failed", "the disk"), new TacetError("aborted", "stopped")]) {
      const { checked, fail } = tellsItself();
      const { watching, made, disposed } = watchedRuntime();
      const checkpoint = await openCheckpoint(nodeFileTree(base));
      const loading = CausalLm.load(checkpoint, watching, { weights: "int4", weightCache: checked });
      const refused = expect(loading).rejects.toBe(error);
      await vi.waitFor(() => expect(made()).toBe(1), { timeout: 60_000 });
      fail(error);
      await refused;
      expect(disposed()).toBe(1);
    }
  });

  it.each([
    ["a changed byte", (path: string) => flip(path, 0.5)],
    ["a changed byte of the digest", (path: string) => flip(path, 1)],
    ["a changed byte of the header", (path: string) => flip(path, 0)],
    ["a cut", (path: string) => truncateSync(path, readFileSync(path).length - 1000)],
    ["nothing left", (path: string) => truncateSync(path, 0)],
  ])("is made again, and the user told, after %s", async (_, damage) => {
    const first = await logitsOf(await load(base, { weights: "int4" }));
    const bytes = readFileSync(file());
    const path = file();
    await Promise.all(models.splice(0).map((model) => model.dispose()));
    damage(path);
    const warnings: string[] = [];
    const onWarning = (message: string) => warnings.push(message);
    expect(await logitsOf(await load(base, { weights: "int4", onWarning }))).toEqual(first);
    expect(warnings).toEqual([expect.stringMatching(/damaged and are made again/)]);
    expect(bytes.equals(readFileSync(path))).toBe(true);
  });

  it("is made again when it is whole and not of this model's shape", async () => {
    await load(base, { weights: "int4" });
    const path = file();
    const name = path.slice(cacheDir.length + 1);
    const writer = await cache.create(name, 0);
    await writer.append(
      new Uint8Array(
        encodeSafetensors([{ name: "sha256", dtype: "U8", shape: [32], data: new Uint8Array(32) }]).subarray(
          0,
          -32,
        ),
      ),
    );
    await writer.finish();
    const warnings: string[] = [];
    await load(base, { weights: "int4", onWarning: (message) => warnings.push(message) });
    expect(warnings).toEqual([expect.stringMatching(/another version/)]);
  });

  it("is left out when the making is stopped, fails or meets a full disk", async () => {
    const controller = new AbortController();
    const stop = load(base, {
      weights: "int4",
      signal: controller.signal,
      onPrepare: () => controller.abort(),
    });
    await expect(stop).rejects.toMatchObject({ code: "aborted" });
    expect(readdirSync(cacheDir)).toEqual([]);

    const full: FileCache = {
      files: cache.files,
      check: (name) => cache.check(name),
      create: async () => await cache.create("x", 2 ** 60),
    };
    const refused = load(base, { weights: "int4", weightCache: full });
    await expect(refused).rejects.toMatchObject({
      code: "io_failed",
      message: expect.stringMatching(/the disk has/),
    });
    expect(readdirSync(cacheDir)).toEqual([]);

    const bad = join(dir, "nan");
    cpSync(base, bad, { recursive: true });
    const tensor = (await openCheckpoint(nodeFileTree(bad))).tensor("model.layers.1.mlp.up_proj.weight");
    const bytes = readFileSync(join(bad, tensor.path));
    bytes.writeFloatLE(Number.NaN, tensor.offset + 40);
    writeFileSync(join(bad, tensor.path), bytes);
    await expect(load(bad, { weights: "int4" })).rejects.toMatchObject({
      code: "bad_checkpoint",
      message: expect.stringMatching(
        /model\.layers\.1\.mlp\.up_proj\.weight has a weight that is not finite/,
      ),
    });
    expect(readdirSync(cacheDir)).toEqual([]);
  });

  it("may be made by several at once", async () => {
    const all = await Promise.all(
      [1, 2, 3].map(async () => await logitsOf(await load(base, { weights: "int4" }))),
    );
    expect(all[1]).toEqual(all[0]);
    expect(all[2]).toEqual(all[0]);
    expect(readdirSync(cacheDir)).toHaveLength(1);
  });

  it("needs a cache, and says so", async () => {
    const checkpoint = await openCheckpoint(nodeFileTree(base));
    await expect(CausalLm.load(checkpoint, runtime, { weights: "int4" })).rejects.toThrow(TypeError);
    expect(existsSync(cacheDir)).toBe(false);
  });
});

/** The cache, with a first check whose end the test decides; later ones are real. */
function tellsItself(): { checked: FileCache; tell(isWhole: boolean): void; fail(error: Error): void } {
  let tell = (_: boolean): void => {};
  let fail = (_: Error): void => {};
  const isWhole = new Promise<boolean>((resolve, reject) => {
    tell = resolve;
    fail = reject;
  });
  isWhole.catch(() => {});
  let first = true;
  const checked: FileCache = {
    files: cache.files,
    create: cache.create,
    async check(name, options) {
      if (!first) return await cache.check(name, options);
      first = false;
      return { isWhole };
    },
  };
  return { checked, tell, fail };
}

function watchedRuntime() {
  let made = 0;
  let disposed = 0;
  const watching: TensorRuntime = {
    async createSession(...args) {
      const session = await runtime.createSession(...args);
      made++;
      return {
        run: (inputs) => session.run(inputs),
        dispose: () => {
          disposed++;
          return session.dispose();
        },
      };
    },
  };
  return { watching, made: () => made, disposed: () => disposed };
}

function flip(path: string, where: number): void {
  const bytes = readFileSync(path);
  bytes[Math.floor(where * (bytes.length - 1))] ^= 1;
  writeFileSync(path, bytes);
}
