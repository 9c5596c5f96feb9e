/**
 * An adapter for a copy of its base model whose activations are scaled, as AWQ's smoothing does it: norms and rows of
 * matrices are divided by scales that the columns of the next matrix are multiplied with. The model is the same, but a
 * module then gets x' = x / s and is to give y' = r ⊙ y, so what was trained as B·A is
 *
 *   (diag(r)·B)·(A·diag(s))        where   V ≈ diag(r)·W·diag(s)
 *
 * W being the module's weights in the original and V those in the copy. r and s follow from both, by least squares in
 * turn: r_j = Σ_k V·s·W / Σ_k (s·W)², s_k = Σ_j V·r·W / Σ_j (r·W)². Only their products matter. Rounding V to 4 bits,
 * 0.1 of its size, leaves an error of some 0.1/√out in s.
 */

import { TacetError } from "../../base/errors.ts";
import { isUnchanged } from "../../weights/base-changes.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";
import { quoteName } from "../../weights/json-file.ts";
import type { LoraModule } from "../../weights/lora-adapter.ts";
import { readTensorF32, type TensorInfo } from "../../weights/safetensors.ts";
import type { FittedAdapter } from "./fit-adapter.ts";

/** Entries of each matrix that are read at a time. */
const CHUNK = 1 << 20;
const PASSES = 5;
/** Largest rms of V − diag(r)·W·diag(s), in parts of V's, of a copy: 4 bits leave 0.1, clipped outliers some more. */
const MOST_REST = 0.3;

export interface CarryOverOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((fraction: number) => void) | undefined;
}

/**
 * @param fitted the adapter, fitted to the original
 * @param copy of the original, with the same modules
 * @throws TacetError unsupported_adapter if it changes more than linear modules; wrong_base_model if a module of the copy
 *   is not the original's but for scales; bad_checkpoint; aborted
 */
export async function carryOver(
  fitted: FittedAdapter,
  original: Checkpoint,
  copy: Checkpoint,
  { signal, onProgress }: CarryOverOptions = {},
): Promise<FittedAdapter> {
  if (!isUnchanged(fitted.changes)) {
    throw new TacetError(
      "unsupported_adapter",
      "the adapter changes more than linear modules, and what it changes can't be carried over to a copy with other scales",
      { hint: "serve it to those who run the original, or train one on the copy" },
    );
  }
  const modules = new Map<string, LoraModule>();
  for (const [name, module] of fitted.modules) {
    if (signal?.aborted) throw new TacetError("aborted", "stopped on request");
    modules.set(name, module.isEmbedding ? module : await carryModule(module, original, copy));
    onProgress?.(modules.size / fitted.modules.size);
  }
  return { ...fitted, modules };
}

async function carryModule(module: LoraModule, original: Checkpoint, copy: Checkpoint): Promise<LoraModule> {
  const { name, rank, inFeatures, a, b } = module;
  const [w, v] = [original, copy].map((checkpoint) => ({
    tree: checkpoint.tree,
    info: matrixOf(module, checkpoint),
  }));
  const s = new Float64Array(inFeatures).fill(1);
  const r = new Float64Array(module.outFeatures);
  for (let pass = 1; pass <= PASSES; pass++) {
    const rest = await improve(w, v, r, s);
    if (pass < PASSES || rest <= MOST_REST) continue;
    throw new TacetError(
      "wrong_base_model",
      `${copy.tree.label} is no copy of ${original.tree.label}: ${quoteName(name)} differs by more than scales, ${(100 * rest).toFixed(0)} % of its size`,
    );
  }
  return {
    ...module,
    a: a.map((value, i) => value * s[i % inFeatures]),
    b: b.map((value, i) => value * r[Math.floor(i / rank)]),
  };
}

function matrixOf({ name, outFeatures, inFeatures }: LoraModule, checkpoint: Checkpoint): TensorInfo {
  const info = checkpoint.tensor(`${name}.weight`);
  if (String(info.shape) === String([outFeatures, inFeatures])) return info;
  throw new TacetError("unsupported_adapter", `${quoteName(name)} is not stored (out, in)`, {
    hint: "such a module can't be carried over to a copy with other scales",
  });
}

interface StoredMatrix {
  readonly tree: Checkpoint["tree"];
  readonly info: TensorInfo;
}

/** One turn: r from s, then s from r. Gives the rms of what was left with the old s, in parts of V's. */
async function improve(w: StoredMatrix, v: StoredMatrix, r: Float64Array, s: Float64Array): Promise<number> {
  const [rows, columns] = w.info.shape;
  const products = new Float64Array(columns);
  const squares = new Float64Array(columns);
  let rest = 0;
  let size = 0;
  const most = Math.max(1, Math.floor(CHUNK / columns));
  for (let first = 0; first < rows; first += most) {
    const count = Math.min(most, rows - first);
    const [ws, vs] = await Promise.all([w, v].map((matrix) => readRows(matrix, first, count)));
    for (let row = 0, at = 0; row < count; row++, at += columns) {
      let product = 0;
      let square = 0;
      let own = 0;
      for (let k = 0; k < columns; k++) {
        const scaled = s[k] * ws[at + k];
        product += vs[at + k] * scaled;
        square += scaled * scaled;
        own += vs[at + k] * vs[at + k];
      }
      const factor = product > 0 ? product / square : 1;
      r[first + row] = factor;
      size += own;
      rest += own - 2 * factor * product + factor * factor * square;
      for (let k = 0; k < columns; k++) {
        const scaled = factor * ws[at + k];
        products[k] += vs[at + k] * scaled;
        squares[k] += scaled * scaled;
      }
    }
  }
  for (let k = 0; k < columns; k++) s[k] = products[k] > 0 ? products[k] / squares[k] : 1;
  return size === 0 ? 0 : Math.sqrt(Math.max(0, rest) / size);
}

async function readRows({ tree, info }: StoredMatrix, first: number, count: number): Promise<Float32Array> {
  const rowBytes = info.bytes / info.shape[0];
  return await readTensorF32(tree, {
    ...info,
    offset: info.offset + first * rowBytes,
    bytes: count * rowBytes,
  });
}
