// A seeded checkpoint of a published model's shape with an adapter that fits, made once and kept.
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { type Shape, shapeOf } from "../tools/checkpoint/shapes.ts";
import { tensorsOf } from "../tools/checkpoint/tensors.ts";
import { writeAdapter, writeCheckpoint } from "../tools/checkpoint/write.ts";

/** A bench run of one shape. */
export interface LargeCase {
  readonly shape: string;
  readonly modules: readonly string[];
  readonly rank: number;
  /** What the adapter adds to a module's output, as a part of that output's standard deviation. */
  readonly part?: number;
  /** Of the regular bench: so few that it stays measured. --full runs all layers. */
  readonly smallLayers: number;
}

/** The cases of the issue: what the field's paper ran, and a small model with everything adapted. */
export const CASES: readonly LargeCase[] = [
  { shape: "chatglm2-6b", modules: ["query_key_value"], rank: 8, smallLayers: 2 },
  {
    shape: "qwen2.5-0.5b",
    modules: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    rank: 8,
    smallLayers: 2,
  },
];

export interface SeededFolders {
  readonly base: string;
  readonly adapter: string;
  readonly shape: Shape;
}

/** Bytes of one weights file: as models of this size are published. */
const SHARD_BYTES = 2e9;

/** Where checkpoints and their quantized copies are kept: gigabytes. */
export function benchCache(): string {
  return process.env.TACET_BENCH_CACHE ?? join(homedir(), ".cache/tacet/bench");
}

/** Weights in F16, as the originals are published (Qwen's are BF16). */
export function seededFolders(
  { shape: name, modules, rank, part }: LargeCase,
  layers: number | undefined,
): SeededFolders {
  const shape = shapeOf(name, layers === undefined ? {} : { layers });
  const folder = join(benchCache(), `${name}-${shape.layers}-layers-f16-v1`);
  const base = join(folder, "base");
  const size = part === undefined ? "" : `-part${part}`;
  const adapter = join(folder, `adapter-${modules.join("-")}-r${rank}${size}`);
  if (!existsSync(base)) {
    console.error(`making ${base} …`);
    const shards = Math.ceil(parametersOf(shape) / (SHARD_BYTES / 2));
    writeCheckpoint(base, shape, { type: "F16", shards });
  }
  if (!existsSync(adapter))
    writeAdapter(adapter, shape, { modules, rank, ...(part === undefined ? {} : { part }) });
  return { base, adapter, shape };
}

export function parametersOf(shape: Shape): number {
  return tensorsOf(shape).tensors.reduce((sum, { shape: dims }) => sum + dims.reduce((a, b) => a * b, 1), 0);
}
