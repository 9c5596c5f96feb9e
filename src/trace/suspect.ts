/**
 * A suspected copy, in the coordinates of W: the low-rank difference that it adds to a module, taken apart along the
 * published basis, so that refactoring, rotating or merging it changes nothing.
 */
import { TacetError } from "../base/errors.ts";
import type { BundleModule } from "../bundle/manifest.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { LoraAdapter } from "../weights/lora-adapter.ts";
import { readTensorF32 } from "../weights/safetensors.ts";

/** What a suspected copy adds to modules of the base model. */
export interface Suspect {
  /** ΔW of a module, as a product of factors; undefined: the copy does not change it. */
  differenceOf(module: string): Promise<LowRankDifference | undefined>;
}

/** ΔW = left·right, (out, rank) and (rank, in) row-major; without `left` ΔW is `right`, (out, in). */
export interface LowRankDifference {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly rank: number;
  readonly left?: Float32Array;
  readonly right: Float32Array;
}

/** A LoRA of any rank. */
export function suspectAdapter({ modules }: LoraAdapter): Suspect {
  return {
    async differenceOf(name) {
      const module = modules.get(name);
      if (module === undefined) return undefined;
      const { outFeatures, inFeatures, rank, a, b, scale } = module;
      return { outFeatures, inFeatures, rank, left: b.map((value) => value * scale), right: a };
    },
  };
}

/**
 * A whole checkpoint into which an adapter may have been merged: W' − W.
 * @throws TacetError bad_checkpoint
 */
export function suspectCheckpoint(
  copy: Checkpoint,
  base: Checkpoint,
  storedInOut: (module: string) => boolean,
): Suspect {
  const read = async (checkpoint: Checkpoint, name: string) => {
    const info = checkpoint.tensor(name);
    return { shape: info.shape, values: await readTensorF32(checkpoint.tree, info, "bad_checkpoint") };
  };
  return {
    async differenceOf(module) {
      const name = `${module}.weight`;
      if (!copy.has(name) || !base.has(name)) return undefined;
      const [one, two] = [await read(copy, name), await read(base, name)];
      if (one.shape.join() !== two.shape.join() || one.shape.length !== 2) {
        throw new TacetError("bad_checkpoint", `tensor ${name} has another shape than in the base model`, {
          hint: "give the base model that the copy was made from",
        });
      }
      for (let i = 0; i < one.values.length; i++) one.values[i] -= two.values[i];
      const [rows, columns] = one.shape;
      const difference = storedInOut(module) ? transposed(one.values, rows, columns) : one.values;
      const [outFeatures, inFeatures] = storedInOut(module) ? [columns, rows] : [rows, columns];
      return { outFeatures, inFeatures, rank: inFeatures, right: difference };
    },
  };
}

/**
 * (B′ᵀB′)⁻¹·B′ᵀ·ΔW by the module's scale: what the copy has instead of the module's rows of W, (rows, in).
 *
 * @param basis B′, (out, rows) row-major
 * @throws TacetError bad_adapter if the copy's module has other sizes
 */
export function inUnitsOfW(
  difference: LowRankDifference,
  { name, outFeatures, rows }: BundleModule,
  inFeatures: number,
  basis: Float32Array,
  scale: number,
): Float64Array {
  if (difference.outFeatures !== outFeatures || difference.inFeatures !== inFeatures) {
    throw new TacetError(
      "bad_adapter",
      `the copy's module ${name} is (${difference.outFeatures}, ${difference.inFeatures}), the adapter's (${outFeatures}, ${inFeatures})`,
      { hint: "is it a copy of an adapter of another base model?" },
    );
  }
  const { left, right, rank } = difference;
  // B′ᵀ·left, or B′ᵀ·ΔW itself.
  const columns = left ? rank : inFeatures;
  const projected = new Float64Array(rows * columns);
  const factor = left ?? right;
  for (let o = 0; o < outFeatures; o++) {
    for (let r = 0; r < rows; r++) {
      const weight = basis[o * rows + r];
      for (let c = 0; c < columns; c++) projected[r * columns + c] += weight * factor[o * columns + c];
    }
  }
  solve(gram(basis, outFeatures, rows), rows, projected, columns);
  const result = new Float64Array(rows * inFeatures);
  for (let r = 0; r < rows; r++) {
    if (!left) {
      for (let j = 0; j < inFeatures; j++) result[r * inFeatures + j] = projected[r * columns + j] / scale;
      continue;
    }
    for (let k = 0; k < rank; k++) {
      const weight = projected[r * rank + k] / scale;
      for (let j = 0; j < inFeatures; j++) result[r * inFeatures + j] += weight * right[k * inFeatures + j];
    }
  }
  return result;
}

function gram(basis: Float32Array, outFeatures: number, rows: number): Float64Array {
  const product = new Float64Array(rows * rows);
  for (let o = 0; o < outFeatures; o++) {
    for (let r = 0; r < rows; r++) {
      for (let s = 0; s < rows; s++) product[r * rows + s] += basis[o * rows + r] * basis[o * rows + s];
    }
  }
  return product;
}

/** right := matrix⁻¹·right, in place, for a matrix near 1: no pivots are needed. */
function solve(matrix: Float64Array, size: number, right: Float64Array, columns: number): void {
  for (let p = 0; p < size; p++) {
    const pivot = matrix[p * size + p];
    for (let r = 0; r < size; r++) {
      if (r === p) continue;
      const factor = matrix[r * size + p] / pivot;
      for (let c = p; c < size; c++) matrix[r * size + c] -= factor * matrix[p * size + c];
      for (let c = 0; c < columns; c++) right[r * columns + c] -= factor * right[p * columns + c];
    }
  }
  for (let r = 0; r < size; r++) {
    for (let c = 0; c < columns; c++) right[r * columns + c] /= matrix[r * size + r];
  }
}

function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from(
    { length: values.length },
    (_, i) => values[(i % rows) * columns + Math.floor(i / rows)],
  );
}
