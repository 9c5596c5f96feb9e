/** The tensors of transformers that a GGUF file's are, and which rows of which tensor make each of them. */

import { TacetError } from "../../base/errors.ts";
import { quoteName } from "../json-file.ts";
import { layerCount, ROPE_TENSORS } from "./config.ts";
import type { Family } from "./families/family.ts";
import type { Metadata } from "./metadata.ts";
import type { FileTensor } from "./open-gguf.ts";
import { isOfExperts, planExperts } from "./plan-experts.ts";
import { type PlannedTensor, rowRun } from "./planned-tensor.ts";
import { findName } from "./tensor-names.ts";
import { type FloatKind, isFloat, isRead, READ_KINDS, type ReadKind } from "./tensor-kinds.ts";

/** @throws TacetError unsupported_model for a tensor that the family does not have, or of a kind that is not read */
export function planTensors(m: Metadata, family: Family): PlannedTensor[] {
  const { file } = m;
  const planned: PlannedTensor[] = [];
  const [first, end] = [layerCount(m, family), m.count(".block_count")];
  const isExtra = ({ name }: FileTensor) => {
    const layer = Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1);
    return layer >= first && layer < end;
  };
  for (const tensor of file.tensors.values()) {
    if (ROPE_TENSORS.includes(tensor.name) || isExtra(tensor)) continue;
    const kind = tensor.kind.name;
    if (!isRead(kind)) throw notRead(tensor);
    const found = findName(family.names, tensor.name);
    if (found) planned.push(planOne(m, family, { ...found, tensor, kind }));
    else if (!isOfExperts(family.names, tensor)) throw unknownTensor(m.architecture, tensor);
  }
  return [...planned, ...planExperts(m, family.names)];
}

interface FoundTensor {
  readonly name: string;
  readonly stem: string;
  readonly last: string;
  readonly tensor: FileTensor;
  readonly kind: ReadKind;
}

function planOne(
  m: Metadata,
  family: Family,
  { name, stem, last, tensor, kind }: FoundTensor,
): PlannedTensor {
  const isVector = tensor.shape.length === 1;
  const undo = family.undo?.(stem, last);
  const rowOrder = family.rowOrder?.(m, stem);
  const columnOrder = family.columnOrder?.(m, stem);
  // Of a bias in another order each entry is a row.
  const isColumn = isVector && rowOrder !== undefined;
  const rows = entriesOf(isColumn ? tensor.shape : tensor.shape.slice(0, -1));
  const width = isColumn ? 1 : widthOf(tensor);
  for (const [order, count, what] of [
    [rowOrder, rows, "rows"],
    [columnOrder, width, "entries a row"],
  ] as const) {
    if (order === undefined || order.count === count) continue;
    throw m.badTensor(tensor, `has ${count} ${what}, ${order.what} are wanted`);
  }
  if (isColumn && !isFloat(kind)) throw notRead(tensor);
  const isTurned = !isVector && family.storedInOut?.has(stem) === true;
  return {
    name,
    shape: shapeHere(stem, tensor.shape, isTurned),
    dtype: undo ? "F32" : dtypeHere(stem, kind, columnOrder !== undefined || isTurned),
    runs: [rowRun(tensor, kind, 0, rows)],
    width,
    isTurned,
    ...(undo ? { undo } : {}),
    ...(rowOrder ? { rowFrom: rowOrder.from } : {}),
    ...(columnOrder ? { columnFrom: columnOrder.from } : {}),
  };
}

/** As transformers has it. */
function shapeHere(stem: string, shape: readonly number[], isTurned: boolean): readonly number[] {
  // The gate of a shared expert is a matrix of one row there, and a convolution has one channel for each of its filters.
  if (stem === "ffn_gate_inp_shexp" && shape.length === 1) return [1, ...shape];
  if (stem === "ssm_conv1d" && shape.length === 2) return [shape[0], 1, shape[1]];
  return isTurned ? shape.toReversed() : shape;
}

/** What a tensor's entries are read as: of blocks F32, but for an embedding, which is large and only looked up. */
function dtypeHere(stem: string, kind: ReadKind, isMoved: boolean): FloatKind {
  // Entries are moved as F32, which is written as F32 or F16.
  if (isFloat(kind)) return isMoved && kind === "BF16" ? "F32" : kind;
  return stem.endsWith("token_embd") ? "F16" : "F32";
}

const widthOf = ({ shape }: FileTensor): number => shape[shape.length - 1];

function entriesOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function notRead({ name, kind, path }: FileTensor): TacetError {
  return new TacetError("unsupported_model", `${path}: tensor ${quoteName(name)} is stored as ${kind.name}`, {
    hint: `these are read: ${READ_KINDS.join(", ")}. Take another file of the same model, as its Q4_K_M or Q8_0`,
  });
}

function unknownTensor(architecture: string, { name, path }: FileTensor): TacetError {
  const what = `tensor ${quoteName(name)} is none that the architecture ${architecture} has here`;
  return new TacetError("unsupported_model", `${path}: ${what}`, {
    hint: "it would change the results, so it is not ignored",
  });
}
