/** The tensors of transformers that a GGUF file's are, and which rows of which tensor make each of them. */

import { TacetError } from "../../base/errors.ts";
import { quoteName } from "../json-file.ts";
import { ROPE_TENSORS } from "./config.ts";
import type { Family } from "./families/family.ts";
import { headSize, keyValueHeads } from "./family-fields.ts";
import type { GgufTensor } from "./header.ts";
import type { Metadata } from "./metadata.ts";
import { findName, type TensorNames } from "./tensor-names.ts";
import { type FloatKind, isFloat, isRead, READ_KINDS, type ReadKind } from "./tensor-kinds.ts";

/** Rows of a tensor of the file, which has all its dimensions but the last counted as rows. */
export interface RowRun {
  readonly source: GgufTensor;
  readonly kind: ReadKind;
  readonly first: number;
  readonly count: number;
}

export interface PlannedTensor {
  /** As transformers calls it. */
  readonly name: string;
  readonly shape: readonly number[];
  /** What its entries are read as. */
  readonly dtype: FloatKind;
  /** The rows, one run behind the other. */
  readonly runs: readonly RowRun[];
  /** Entries of a row. */
  readonly width: number;
  /** Where a row comes from, counted over all runs. Default: from the same place. */
  readonly rowFrom?: (row: number) => number;
  /** 1 is taken from each entry. */
  readonly isLessOne: boolean;
}

/** @throws TacetError unsupported_model for a tensor that the family does not have, or of a kind that is not read */
export function planTensors(m: Metadata, family: Family): PlannedTensor[] {
  const { file } = m;
  const planned: PlannedTensor[] = [];
  for (const tensor of file.tensors.values()) {
    if (ROPE_TENSORS.includes(tensor.name)) continue;
    const kind = tensor.kind.name;
    if (!isRead(kind)) throw notRead(file.path, tensor);
    const found = findName(family.names, tensor.name);
    if (found) planned.push(planOne(m, family, { ...found, tensor, kind }));
    else if (!isOfExperts(family.names, tensor)) throw unknownTensor(m, tensor);
  }
  const { experts } = family.names;
  return experts === undefined ? planned : [...planned, ...planExperts(m, family.names, experts)];
}

interface FoundTensor {
  readonly name: string;
  readonly stem: string;
  readonly tensor: GgufTensor;
  readonly kind: ReadKind;
}

function planOne(m: Metadata, family: Family, { name, stem, tensor, kind }: FoundTensor): PlannedTensor {
  const isVector = tensor.shape.length === 1;
  // The gate of a shared expert is a matrix of one row there.
  const shape = stem === "ffn_gate_inp_shexp" && isVector ? [1, ...tensor.shape] : tensor.shape;
  const heads =
    stem === "attn_q" ? m.count(".attention.head_count") : stem === "attn_k" ? keyValueHeads(m) : 0;
  const isLessOne = family.normsPlusOne === true && stem.endsWith("norm") && name.endsWith(".weight");
  const dtype = isLessOne ? "F32" : isFloat(kind) ? kind : stem.endsWith("token_embd") ? "F16" : "F32";
  if (family.headRows === undefined || heads === 0) {
    const rows = isVector ? 1 : entriesOf(tensor.shape.slice(0, -1));
    return planned({ name, shape, dtype, isLessOne }, [run(tensor, kind, 0, rows)], widthOf(tensor));
  }
  // Of a bias, each entry is a row.
  const rows = entriesOf(isVector ? tensor.shape : tensor.shape.slice(0, -1));
  const size = headSize(m);
  if (rows !== heads * size) {
    const what = `tensor ${quoteName(tensor.name)} has ${rows} rows, ${heads} heads of ${size} are wanted`;
    throw new TacetError("bad_checkpoint", `${m.file.path}: ${what}`, { hint: "download the file again" });
  }
  if (isVector && !isFloat(kind)) throw notRead(m.file.path, tensor);
  const width = isVector ? 1 : widthOf(tensor);
  return {
    ...planned({ name, shape, dtype, isLessOne }, [run(tensor, kind, 0, rows)], width),
    rowFrom: fromNeighbours(size),
  };
}

/** Row i of a head's first half stands at 2i, row i of its second half at 2i + 1. */
function fromNeighbours(size: number): (row: number) => number {
  const half = size / 2;
  return (row) => {
    const within = row % size;
    return row - within + (within < half ? 2 * within : 2 * (within - half) + 1);
  };
}

const EXPERT_TENSOR = /^blk\.(\d+)\.ffn_(gate|up|down)_exps\.weight$/;

function isOfExperts({ experts }: TensorNames, { name }: GgufTensor): boolean {
  return experts !== undefined && EXPERT_TENSOR.test(name);
}

function planExperts(
  m: Metadata,
  names: TensorNames,
  experts: NonNullable<TensorNames["experts"]>,
): PlannedTensor[] {
  const { file } = m;
  const count = m.count(".expert_count");
  return [...file.tensors.values()].flatMap((tensor): PlannedTensor[] => {
    const [, layer, which] = EXPERT_TENSOR.exec(tensor.name) ?? [];
    if (layer === undefined) return [];
    const kind = tensor.kind.name as ReadKind;
    if (tensor.shape.length !== 3 || tensor.shape[0] !== count) {
      const what = `tensor ${quoteName(tensor.name)} has shape [${tensor.shape}], one slice for each of ${count} experts is wanted`;
      throw new TacetError("bad_checkpoint", `${file.path}: ${what}`, { hint: "download the file again" });
    }
    const [, rows, width] = tensor.shape;
    const runs = Array.from({ length: count }, (_, expert) => run(tensor, kind, expert * rows, rows));
    const prefix = `${names.layers}.${layer}`;
    const info = { dtype: isFloat(kind) ? kind : ("F32" as const), isLessOne: false };
    if ("list" in experts) {
      const module = experts[which as "gate" | "up" | "down"];
      return runs.map((part, expert) => {
        const name = `${prefix}.${experts.list}.${expert}.${module}.weight`;
        return planned({ ...info, name, shape: [rows, width] }, [part], width);
      });
    }
    if (which === "down")
      return [
        planned({ ...info, name: `${prefix}.${experts.down}.weight`, shape: tensor.shape }, runs, width),
      ];
    if (which === "up") return [];
    const up = file.tensors.get(tensor.name.replace("_gate_", "_up_"));
    if (up === undefined || String(up.shape) !== String(tensor.shape)) {
      const what = `tensor ${quoteName(tensor.name)} has no partner of the same shape for up`;
      throw new TacetError("bad_checkpoint", `${file.path}: ${what}`, { hint: "download the file again" });
    }
    const upKind = up.kind.name as ReadKind;
    const both = runs.flatMap((gate, expert) => [gate, run(up, upKind, expert * rows, rows)]);
    const dtype = kind === upKind ? info.dtype : "F32";
    const name = `${prefix}.${experts.gateUp}.weight`;
    return [planned({ ...info, dtype, name, shape: [count, 2 * rows, width] }, both, width)];
  });
}

function planned(
  info: Pick<PlannedTensor, "name" | "shape" | "dtype" | "isLessOne">,
  runs: readonly RowRun[],
  width: number,
): PlannedTensor {
  return { ...info, runs, width };
}

function run(source: GgufTensor, kind: ReadKind, first: number, count: number): RowRun {
  return { source, kind, first, count };
}

const widthOf = ({ shape }: GgufTensor): number => shape[shape.length - 1];

function entriesOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function notRead(path: string, { name, kind }: GgufTensor): TacetError {
  return new TacetError("unsupported_model", `${path}: tensor ${quoteName(name)} is stored as ${kind.name}`, {
    hint: `these are read: ${READ_KINDS.join(", ")}. Take another file of the same model, as its Q4_K_M or Q8_0`,
  });
}

function unknownTensor({ file, architecture }: Metadata, { name }: GgufTensor): TacetError {
  const what = `tensor ${quoteName(name)} is none that the architecture ${architecture} has here`;
  return new TacetError("unsupported_model", `${file.path}: ${what}`, {
    hint: "it would change the results, so it is not ignored",
  });
}
