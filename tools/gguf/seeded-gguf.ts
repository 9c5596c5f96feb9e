/** The seeded checkpoint of a shape as a GGUF file: the same weights as writeCheckpoint's, before they are rounded. */
import { SeededValues } from "../checkpoint/seeded-values.ts";
import type { Shape } from "../checkpoint/shapes.ts";
import { type TensorSpec, tensorsOf } from "../checkpoint/tensors.ts";
import { BLOCKS, type BlockName } from "./blocks.ts";
import { ggufMetadata, ggufName, isMatrix, pairedHeads, pairNeighbours } from "./from-checkpoint.ts";
import type { GgufFile, GgufTensor } from "./write-gguf.ts";

export interface SeededGgufOptions {
  /** Of the matrices. Rows that are not whole blocks are kept in F16. Default: Q4_0. */
  readonly type?: BlockName;
  /** Of the logits' matrix, which is the embedding where both are one. Default: Q8_0. */
  readonly head?: BlockName;
  readonly seed?: string;
}

/** @throws RangeError for a family that is not written as GGUF */
export function seededGguf(shape: Shape, options: SeededGgufOptions = {}): GgufFile {
  const { type = "Q4_0", head = "Q8_0", seed = "tacet" } = options;
  const metadata = ggufMetadata(shape);
  const values = new SeededValues(seed, "F32");
  const tensors = tensorsOf(shape).tensors.flatMap((spec): GgufTensor[] => {
    const name = ggufName(spec.name);
    if (name === undefined) return [];
    const isHead = name === "output.weight" || (shape.tied && name === "token_embd.weight");
    const wanted = isHead ? head : type;
    const rowLength = spec.shape[spec.shape.length - 1];
    const stored = !isMatrix(spec) ? "F32" : rowLength % BLOCKS[wanted].values === 0 ? wanted : "F16";
    return [{ name, shape: spec.shape, type: stored, values: () => entriesOf(shape, spec, values) }];
  });
  return { metadata, tensors };
}

function* entriesOf(shape: Shape, spec: TensorSpec, values: SeededValues): Generator<Float32Array> {
  const { name, mean, std, shape: dims } = spec;
  const count = dims.reduce((product, dim) => product * dim, 1);
  const heads = pairedHeads(shape, name);
  if (heads === undefined) {
    for (const bytes of values.blocks(name, count, mean, std)) yield asFloats(bytes);
    return;
  }
  const whole = new Float32Array(count);
  let at = 0;
  for (const bytes of values.blocks(name, count, mean, std)) {
    whole.set(asFloats(bytes), at);
    at += bytes.length / 4;
  }
  yield pairNeighbours(whole, dims[0], heads);
}

const asFloats = (bytes: Uint8Array) => new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
