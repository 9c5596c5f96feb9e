/** Small models with random weights, written to a folder, for comparing a family's graphs with its oracle. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { bytesOf, utf8 } from "../../src/base/bytes.ts";
import { TacetError } from "../../src/base/errors.ts";
import { fitAdapter } from "../../src/model/adapter/fit-adapter.ts";
import { LocalLora } from "../../src/model/adapter/local-lora.ts";
import type { RawConfig } from "../../src/model/architectures/config-fields.ts";
import { CausalLm } from "../../src/model/causal-lm.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { type Checkpoint, openCheckpoint } from "../../src/weights/checkpoint.ts";
import { type LoraAdapter, openLoraAdapter } from "../../src/weights/lora-adapter.ts";
import { memoryFileTree } from "../../src/weights/memory-files.ts";
import { encodeSafetensors, readTensorF32 } from "../../src/weights/safetensors.ts";
import type { Rows, Weight, Weights } from "../oracle/decoder-math.ts";
import { randomWords, seededRandom } from "../oracle/seeded-random.ts";

/** Tensor name → shape. */
export type Shapes = Readonly<Record<string, readonly number[]>>;

/** Uniform, so small that activations stay near 1; norms' weights are around 1. */
export function randomWeights(shapes: Shapes, seed: string): Weights {
  const random = seededRandom(seed);
  const entry = (name: string, shape: readonly number[]): [string, Weight] => {
    const size = shape.reduce((product, axis) => product * axis, 1);
    const centre = /norm.*weight$|ln_.*weight$/.test(name) ? 1 : 0;
    const spread = shape.length === 1 ? 0.3 : 0.5;
    const data = Float32Array.from(
      randomWords(random, size),
      (word) => centre + spread * (word / 2 ** 31 - 1),
    );
    return [name, { shape, data }];
  };
  return new Map(Object.entries(shapes).map(([name, shape]) => entry(name, shape)));
}

export function encodeWeights(weights: Weights): Uint8Array {
  return encodeSafetensors(
    [...weights].map(([name, { shape, data }]) => ({
      name,
      dtype: "F32",
      shape: [...shape],
      data: bytesOf(data),
    })),
  );
}

/** All tensors of a checkpoint, widened. */
export async function weightsOf(checkpoint: Checkpoint): Promise<Weights> {
  const entries = checkpoint.names.map(async (name): Promise<[string, Weight]> => {
    const tensor = checkpoint.tensor(name);
    return [
      name,
      { shape: tensor.shape, data: await readTensorF32(checkpoint.tree, tensor, "bad_checkpoint") },
    ];
  });
  return new Map(await Promise.all(entries));
}

/** A PEFT adapter with random tensors. */
export async function randomAdapter(
  config: Readonly<Record<string, unknown>>,
  modules: readonly (readonly [name: string, inFeatures: number, outFeatures: number, rank: number])[],
  seed: string,
): Promise<LoraAdapter> {
  const shapes = modules.flatMap(([name, inFeatures, outFeatures, rank]): [string, number[]][] => [
    [`base_model.model.${name}.lora_A.weight`, [rank, inFeatures]],
    [`base_model.model.${name}.lora_B.weight`, [outFeatures, rank]],
  ]);
  return await openLoraAdapter(
    memoryFileTree({
      "adapter_config.json": utf8(JSON.stringify({ peft_type: "LORA", bias: "none", ...config })),
      "adapter_model.safetensors": encodeWeights(randomWeights(Object.fromEntries(shapes), seed)),
    }),
  );
}

/** Checkpoints in temporary folders, with all that was loaded from them, until `dispose`. */
export class SmallModels {
  readonly #folder = mkdtempSync(join(tmpdir(), "tacet-small-"));
  readonly #loaded: CausalLm[] = [];
  #count = 0;

  async write(config: Readonly<Record<string, unknown>>, weights: Weights): Promise<Checkpoint> {
    const folder = join(this.#folder, String(this.#count++));
    mkdirSync(folder);
    writeFileSync(join(folder, "config.json"), JSON.stringify(config));
    writeFileSync(join(folder, "model.safetensors"), encodeWeights(weights));
    return await openCheckpoint(nodeFileTree(folder));
  }

  async load(checkpoint: Checkpoint, adapter?: LoraAdapter): Promise<CausalLm> {
    const deltas = adapter && { deltas: new LocalLora(await fitAdapter(adapter, checkpoint)) };
    const model = await CausalLm.load(checkpoint, nodePlatform().tensors, { threads: 1, ...deltas });
    this.#loaded.push(model);
    return model;
  }

  async loadQuantized(checkpoint: Checkpoint, weights: "int8" | "int4"): Promise<CausalLm> {
    const weightCache = nodeFileCache(join(this.#folder, "quantized"));
    const options = { threads: 1, weights, weightCache };
    const model = await CausalLm.load(checkpoint, nodePlatform().tensors, options);
    this.#loaded.push(model);
    return model;
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#loaded.splice(0).map((model) => model.dispose()));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const rms = (values: readonly number[]): number =>
  Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);

function flatten(want: Rows, length: number): number[] {
  const flat = want.flatMap((row) => [...row]);
  if (flat.length !== length) throw new RangeError(`${length} values for ${flat.length}`);
  return flat;
}

/** Largest |got - want| / (1 + root mean square of want). */
export function worstError(got: Float32Array, want: Rows): number {
  const flat = flatten(want, got.length);
  return flat.reduce((most, w, i) => Math.max(most, Math.abs(got[i] - w)), 0) / (1 + rms(flat));
}

/** Root mean square of the difference, relative to that of want. */
export function distance(got: Float32Array, want: Rows): number {
  const flat = flatten(want, got.length);
  return rms(flat.map((w, i) => got[i] - w)) / rms(flat);
}

/** All logits of `ids`, read in two parts, so that the cache has a share in them. */
export async function logitsInTwoParts(model: CausalLm, ids: readonly number[]): Promise<Float32Array> {
  const cache = model.newCache();
  const at = Math.ceil(ids.length / 2);
  const parts = [
    await model.forwardAll(ids.slice(0, at), cache),
    await model.forwardAll(ids.slice(at), cache),
  ];
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

/** A parser of config.json gives a configuration or a TacetError for any values of these fields. */
export function expectOwnErrors(
  parse: (raw: RawConfig) => unknown,
  good: RawConfig,
  more: readonly string[],
): void {
  const value = fc.oneof(
    fc.constantFrom(null, true, false, 0, 1, 2, 8, 64, -1, 0.5, 1e9, ""),
    fc.jsonValue(),
  );
  const changes = fc.dictionary(fc.constantFrom(...Object.keys(good), ...more), value, { maxKeys: 4 });
  fc.assert(
    fc.property(changes, (fields) => {
      try {
        parse({ ...good, ...fields });
      } catch (error) {
        if (!(error instanceof TacetError)) throw error;
      }
    }),
    { numRuns: process.env.SLOW ? 5_000 : 300 },
  );
}
