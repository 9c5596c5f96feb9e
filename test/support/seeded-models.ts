/** Small seeded models of any supported family, made on the spot by the tool that makes the large ones. */
import { join } from "node:path";
import { type Family, type Shape, shapeOf } from "../../tools/checkpoint/shapes.ts";
import {
  type AdapterOptions,
  type CheckpointOptions,
  writeAdapter,
  writeCheckpoint,
} from "../../tools/checkpoint/write.ts";

/** All modules of a family that an adapter may change. */
export const ADAPTABLE: Readonly<Record<Family, readonly string[]>> = {
  llama: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
  qwen2: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
  qwen3: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
  mistral: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
  chatglm2: ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
  gpt2: ["c_attn", "c_proj", "c_fc"],
};

export interface SeededModel {
  readonly base: string;
  readonly shape: Shape;
  /** Writes an adapter beside the base and gives its folder. */
  adapter(name: string, options?: Partial<AdapterOptions>): string;
}

/** @param dir that must exist; the base is made in dir/<family> */
export function seededModel(
  dir: string,
  family: Family,
  { layers, ...options }: CheckpointOptions & { layers?: number } = {},
): SeededModel {
  const shape = shapeOf("tiny", { family, ...(layers === undefined ? {} : { layers }) });
  const base = join(dir, family);
  writeCheckpoint(base, shape, options);
  return {
    base,
    shape,
    adapter(name, adapterOptions = {}) {
      const folder = join(dir, `${family}-${name}`);
      writeAdapter(folder, shape, { modules: ADAPTABLE[family], seed: name, ...adapterOptions });
      return folder;
    },
  };
}
