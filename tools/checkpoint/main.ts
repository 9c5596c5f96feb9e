/** The command line of tools/make-checkpoint.mjs. */
import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { BLOCKS, type BlockName } from "../gguf/blocks.ts";
import { seededGguf } from "../gguf/seeded-gguf.ts";
import { writeGguf } from "../gguf/write-gguf.ts";
import type { StorageType } from "./seeded-values.ts";
import { FAMILIES, SHAPE_NAMES, shapeOf } from "./shapes.ts";
import { writeAdapter, writeCheckpoint } from "./write.ts";

const HELP = `usage: node tools/make-checkpoint.mjs [--shape S] [--out DIR] [--gguf FILE] [--adapter DIR --adapter-modules A,B] …

Writes a checkpoint in the Hugging Face layout with seeded random weights, the same as one GGUF file, a LoRA adapter
in the PEFT layout that fits it, or all of them. Equal options give equal bytes. No tokenizer is written: prompts are
ids.

  --out DIR               write the checkpoint here; DIR must not exist
  --shape S               ${SHAPE_NAMES.join(", ")} (default: tiny)
  --family F              with --shape tiny: ${FAMILIES.join(", ")} (default: llama)
  --layers N              another number of layers
  --dtype T               f32, f16 or bf16, also of the adapter (default: f32)
  --shards N              spread the weights over N files (default: 1)
  --seed TEXT             of the weights (default: tacet)

  --gguf FILE             write it as GGUF here, for llama.cpp; FILE must not exist; not of gpt2
  --gguf-type T           of its matrices: ${Object.keys(BLOCKS).join(", ")} (default: Q4_0)
  --gguf-head T           of the logits' matrix (default: Q8_0)

  --adapter DIR           write an adapter for this shape here; DIR must not exist
  --adapter-modules A,B   last part of the names of the modules to adapt, e.g. q_proj,v_proj
  --rank N                rank of the adapter (default: 8); its scale is 2
  --adapter-seed TEXT     of the adapter's weights (default: tacet-adapter)

example, the size of ChatGLM2-6B (12.5 GB):
  node tools/make-checkpoint.mjs --shape chatglm2-6b --dtype f16 --shards 7 --out glm/base \\
    --adapter glm/adapter --adapter-modules query_key_value
`;

function main(): number {
  const { values: options } = parseArgs({
    options: {
      help: { type: "boolean", short: "h" },
      out: { type: "string" },
      shape: { type: "string", default: "tiny" },
      family: { type: "string" },
      layers: { type: "string" },
      dtype: { type: "string", default: "f32" },
      shards: { type: "string", default: "1" },
      seed: { type: "string", default: "tacet" },
      gguf: { type: "string" },
      "gguf-type": { type: "string", default: "Q4_0" },
      "gguf-head": { type: "string", default: "Q8_0" },
      adapter: { type: "string" },
      "adapter-modules": { type: "string" },
      rank: { type: "string", default: "8" },
      "adapter-seed": { type: "string", default: "tacet-adapter" },
    },
  });
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const type = options.dtype.toUpperCase() as StorageType;
  if (!["F32", "F16", "BF16"].includes(type)) throw new RangeError("--dtype is f32, f16 or bf16");
  const { out, gguf, adapter, "adapter-modules": modules } = options;
  if (out === undefined && gguf === undefined && adapter === undefined)
    throw new RangeError("give --out, --gguf or --adapter");
  if ((adapter === undefined) !== (modules === undefined))
    throw new RangeError("--adapter and --adapter-modules belong together");
  const shape = shapeOf(options.shape, {
    ...(options.family === undefined ? {} : { family: options.family }),
    ...(options.layers === undefined ? {} : { layers: count(options.layers, "--layers") }),
  });
  if (adapter !== undefined && modules !== undefined) {
    const rank = count(options.rank, "--rank");
    writeAdapter(adapter, shape, { modules: modules.split(","), rank, type, seed: options["adapter-seed"] });
  }
  if (out !== undefined) {
    const shards = count(options.shards, "--shards");
    writeCheckpoint(out, shape, { type, shards, seed: options.seed, onProgress: showProgress() });
  }
  if (gguf !== undefined) {
    if (existsSync(gguf)) throw new RangeError(`${gguf} exists`);
    const type = blockName(options["gguf-type"], "--gguf-type");
    const head = blockName(options["gguf-head"], "--gguf-head");
    writeGguf(gguf, seededGguf(shape, { type, head, seed: options.seed }));
  }
  return 0;
}

function blockName(text: string, option: string): BlockName {
  const name = text.toUpperCase();
  if (!Object.hasOwn(BLOCKS, name))
    throw new RangeError(`${option} is one of ${Object.keys(BLOCKS).join(", ")}`);
  return name as BlockName;
}

function count(text: string, option: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new RangeError(`${option} is not a positive number`);
  return Number(text);
}

/** A line on a terminal, nothing else where. */
function showProgress(): (fraction: number) => void {
  if (!process.stderr.isTTY) return () => {};
  let shown = -1;
  return (fraction) => {
    const percent = Math.floor(100 * fraction);
    if (percent === shown) return;
    shown = percent;
    process.stderr.write(`\rwriting ${percent} %${percent === 100 ? "\n" : ""}`);
  };
}

try {
  process.exitCode = main();
} catch (error) {
  console.error(`error: ${(error as Error).message}\nhint: see --help`);
  process.exitCode = 2;
}
