/** Experts: a GGUF file has those of a layer in one tensor; transformers has each by itself, or joins them otherwise. */

import type { Metadata } from "./metadata.ts";
import type { FileTensor } from "./open-gguf.ts";
import { type PlannedTensor, type RowRun, rowRun } from "./planned-tensor.ts";
import { isFloat, type ReadKind } from "./tensor-kinds.ts";
import type { JoinedExperts, ListedExperts, TensorNames } from "./tensor-names.ts";

const EXPERT_TENSOR = /^blk\.(\d+)\.ffn_(gate|up|down)_exps\.(weight|bias)$/;

/** @returns whether {@link planExperts} has the tensor */
export function isOfExperts({ experts }: TensorNames, { name }: FileTensor): boolean {
  const last = EXPERT_TENSOR.exec(name)?.[3];
  if (experts === undefined || last === undefined) return false;
  return last === "weight" || ("gateUp" in experts && experts.biases !== undefined);
}

/** @throws TacetError bad_checkpoint where shapes do not fit the number of experts, or each other */
export function planExperts(m: Metadata, { experts, layers }: TensorNames): PlannedTensor[] {
  if (experts === undefined) return [];
  const count = m.count(".expert_count");
  return [...m.file.tensors.values()].flatMap((tensor) => {
    const [, layer, which, last] = EXPERT_TENSOR.exec(tensor.name) ?? [];
    if (layer === undefined) return [];
    const stored = slicesOf(m, tensor, count, last === "bias");
    const prefix = `${layers}.${layer}`;
    if ("list" in experts) return planListed(stored, prefix, experts, which as Part);
    return planJoined(m, stored, prefix, experts, which as Part);
  });
}

type Part = "gate" | "up" | "down";

/** One of the three tensors of all experts. */
interface Slices {
  readonly tensor: FileTensor;
  readonly kind: ReadKind;
  readonly isBias: boolean;
  /** Rows of an expert; of a bias, each entry is one. */
  readonly rows: number;
  readonly width: number;
  /** The rows of each expert. */
  readonly runs: readonly RowRun[];
}

function slicesOf(m: Metadata, tensor: FileTensor, count: number, isBias: boolean): Slices {
  const kind = tensor.kind.name as ReadKind;
  if (tensor.shape.length !== (isBias ? 2 : 3) || tensor.shape[0] !== count || (isBias && !isFloat(kind))) {
    const wanted = `one slice for each of ${count} experts is wanted`;
    throw m.badTensor(tensor, `has shape [${tensor.shape}] of ${kind}, ${wanted}`);
  }
  const [, rows, width = 1] = tensor.shape;
  const runs = Array.from({ length: count }, (_, expert) => rowRun(tensor, kind, expert * rows, rows));
  return { tensor, kind, isBias, rows, width, runs };
}

function planListed(
  { kind, rows, width, runs }: Slices,
  prefix: string,
  experts: ListedExperts,
  which: Part,
): PlannedTensor[] {
  return runs.map((part, expert) => {
    const name = `${prefix}.${experts.list}.${expert}.${experts[which]}.weight`;
    return { name, shape: [rows, width], dtype: dtypeOf(kind), runs: [part], width, isTurned: false };
  });
}

function planJoined(
  m: Metadata,
  stored: Slices,
  prefix: string,
  experts: JoinedExperts,
  which: Part,
): PlannedTensor[] {
  const { tensor, kind, rows, width, runs, isBias } = stored;
  const nameOf = (module: string, bias?: string) =>
    isBias ? `${prefix}.${bias}` : `${prefix}.${module}${experts.isBare ? "" : ".weight"}`;
  const isTurned = experts.storedInOut === true && !isBias;
  const shapeOf = (count: number) => {
    if (isBias) return [runs.length, count];
    return isTurned ? [runs.length, width, count] : [runs.length, count, width];
  };
  const info = { isTurned, width };
  if (which === "down") {
    const name = nameOf(experts.down, experts.biases?.down);
    return [{ ...info, name, shape: shapeOf(rows), dtype: dtypeOf(kind), runs }];
  }
  if (which === "up") return [];
  const up = m.file.tensors.get(tensor.name.replace("_gate_", "_up_"));
  if (up === undefined || String(up.shape) !== String(tensor.shape)) {
    throw m.badTensor(tensor, "has no partner of the same shape for up");
  }
  const ups = slicesOf(m, up, runs.length, isBias);
  return [
    {
      ...info,
      name: nameOf(experts.gateUp, experts.biases?.gateUp),
      shape: shapeOf(2 * rows),
      dtype: kind === ups.kind ? dtypeOf(kind) : "F32",
      runs: runs.flatMap((gate, expert) => [gate, ups.runs[expert]]),
      ...(experts.inTurns ? { rowFrom: inTurns(rows) } : {}),
    },
  ];
}

/** A row of gate, then one of up, where the file has all of gate and then all of up. */
function inTurns(rows: number): (row: number) => number {
  return (row) => {
    const within = row % (2 * rows);
    return row - within + (within % 2) * rows + Math.floor(within / 2);
  };
}

const dtypeOf = (kind: ReadKind) => (isFloat(kind) ? kind : "F32");
