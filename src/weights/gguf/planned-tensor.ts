/** A tensor as transformers has it, and the rows of a GGUF file that it is. */

import type { FileTensor } from "./open-gguf.ts";
import type { FloatKind, ReadKind } from "./tensor-kinds.ts";

/** Rows of a tensor of the file, which has all its dimensions but the last counted as rows. */
export interface RowRun {
  readonly source: FileTensor;
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
  /** Where an entry of a row comes from. Default: from the same place. */
  readonly columnFrom?: (column: number) => number;
  /** What is done to each entry. */
  readonly undo?: (entry: number) => number;
  /** The last two dimensions of `shape` are those of the rows the other way round: (…, width, rows). */
  readonly isTurned: boolean;
}

export function rowRun(source: FileTensor, kind: ReadKind, first: number, count: number): RowRun {
  return { source, kind, first, count };
}
