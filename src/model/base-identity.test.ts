import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { toHex, utf8 } from "../base/bytes.ts";
import { nodeFileTree } from "../platform/node.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import { fingerprintCheckpoint } from "../weights/fingerprint.ts";
import { toFloat16 } from "../base/float16.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import { type Dtype, encodeSafetensors, readTensorF32, type TensorToEncode } from "../weights/safetensors.ts";
import { baseIdentity, vectorsFingerprint } from "./base-identity.ts";

const GOLDEN = fileURLToPath(new URL("../../test/fixtures/golden/", import.meta.url));
const open = (name: string) => openCheckpoint(nodeFileTree(join(GOLDEN, name)));

type Values = ReadonlyMap<string, { shape: readonly number[]; values: Float32Array }>;

async function valuesOf(
  checkpoint: Checkpoint,
): Promise<Map<string, Values extends ReadonlyMap<string, infer V> ? V : never>> {
  const values = new Map();
  for (const name of checkpoint.names) {
    const info = checkpoint.tensor(name);
    values.set(name, { shape: info.shape, values: await readTensorF32(checkpoint.tree, info) });
  }
  return values;
}

function bf16(values: Float32Array): Uint16Array {
  const words = new Uint32Array(new Float32Array(values).buffer);
  return Uint16Array.from(words, (w) => (w + 0x7fff + ((w >>> 16) & 1)) >>> 16);
}

const rounded = (values: Float32Array): Float32Array =>
  new Float32Array(Uint32Array.from(bf16(values), (half) => half << 16).buffer);

/** A checkpoint in memory with these values. */
async function written(config: object, values: Values, dtype: Dtype): Promise<Checkpoint> {
  const tensors = [...values].map(([name, { shape, values }]): TensorToEncode => {
    const data = dtype === "F32" ? values : dtype === "F16" ? toFloat16(values) : bf16(values);
    return { name, dtype, shape, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
  });
  const files = {
    "config.json": utf8(JSON.stringify(config)),
    "model.safetensors": encodeSafetensors(tensors),
  };
  return await openCheckpoint(memoryFileTree(files));
}

const hexOf = async (checkpoint: Checkpoint) => toHex(await vectorsFingerprint(checkpoint));

describe.each(readdirSync(GOLDEN))("%s", (name) => {
  it("has the same fingerprint of vectors in F32, F16 and BF16, and another of weights", async () => {
    const original = await open(name);
    const values = await valuesOf(original);
    for (const entry of values.values()) entry.values = rounded(entry.values);
    const copies = await Promise.all(
      (["BF16", "F16", "F32"] as const).map((dtype) => written(original.config, values, dtype)),
    );
    expect(new Set(await Promise.all(copies.map(hexOf))).size).toBe(1);
    const strong = await Promise.all(copies.map(async (copy) => toHex(await fingerprintCheckpoint(copy))));
    expect(new Set(strong).size).toBe(3);
  });
});

describe("the fingerprint of vectors", () => {
  const NORM = "model.layers.1.input_layernorm.weight";

  it("is that of an F32 checkpoint also in F16", async () => {
    const original = await open("llama-f32");
    expect(await hexOf(await written(original.config, await valuesOf(original), "F16"))).toBe(
      await hexOf(original),
    );
  });

  it("is known of a BF16 norm from 1 + w in float32", async () => {
    const original = await open("llama-f32");
    const values = await valuesOf(original);
    const norm = values.get(NORM)!;
    // All BF16 magnitudes from 2^-30 to 2^3, in both signs.
    norm.values = norm.values.map(
      (_, i) => rounded(Float32Array.of((i % 2 ? -1 : 1) * 2 ** (i - 30) * (1 + i / 64)))[0],
    );
    const plain = await written(original.config, values, "F32");
    norm.values = norm.values.map((w) => Math.fround(Math.fround(1 + w) - 1));
    expect(await hexOf(await written(original.config, values, "F32"))).toBe(await hexOf(plain));
  });

  it("leaves out what no pass reads, matrices, vectors of zeros and the rest of the configuration", async () => {
    const original = await open("llama-f32");
    const values = await valuesOf(original);
    const before = await hexOf(original);
    for (const entry of values.values())
      if (entry.shape.length === 2) entry.values = entry.values.map((w) => -w);
    values.set("model.rotary_emb.inv_freq", { shape: [3], values: Float32Array.of(1, 2, 3) });
    const config = { ...original.config, rope_theta: 5, torch_dtype: "float16" };
    expect(await hexOf(await written(config, values, "F32"))).toBe(before);
    const biased = new Map(values);
    for (const layer of [0, 1, 2]) {
      for (const [module, tensor] of [...values].filter(([key]) =>
        key.includes(`layers.${layer}.self_attn`),
      )) {
        biased.set(module.replace("weight", "bias"), {
          shape: [tensor.shape[0]],
          values: new Float32Array(tensor.shape[0]),
        });
      }
    }
    expect(await hexOf(await written({ ...config, attention_bias: true }, biased, "F32"))).toBe(before);
  });

  it("changes with a norm's entry, also its sign, and with every size", async () => {
    const original = await open("llama-f32");
    const all = [await hexOf(original)];
    for (const change of [(w: number) => -w, (w: number) => w * 1.001]) {
      const values = await valuesOf(original);
      const norm = values.get(NORM)!;
      norm.values = norm.values.map((w, i) => (i === 3 ? change(w) : w));
      all.push(await hexOf(await written(original.config, values, "F32")));
    }
    const values = await valuesOf(original);
    all.push(await hexOf(await written({ ...original.config, num_hidden_layers: 1 }, values, "F32")));
    expect(new Set(all).size).toBe(all.length);
  });

  it("is fixed for the golden models: a change is a new version of the protocol", async () => {
    expect(await hexOf(await open("llama-f32"))).toBe(
      "9779f3541d4aeb3d2c20159a748135242e6f8ffcff2df96d788375a2154bdab5",
    );
    expect(await hexOf(await open("qwen2-f16"))).toBe(
      "c3cb0387dd4bc09c690194377dfc0b69bb4f1dcd82cf3c19af6e52a2e82ca149",
    );
  });
});

describe("baseIdentity", () => {
  it("knows an original by its weights, and a copy by its vectors", async () => {
    const original = await open("llama-f32");
    const strong = await fingerprintCheckpoint(original);
    expect(await baseIdentity(original)).toEqual({ fingerprint: strong, knownBy: "weights" });
    const storedAs = "GPTQ, 4 bits";
    const fingerprint = await vectorsFingerprint(original);
    expect(await baseIdentity({ ...original, storedAs })).toEqual({
      fingerprint,
      knownBy: "vectors",
      storedAs,
    });
  });
});
