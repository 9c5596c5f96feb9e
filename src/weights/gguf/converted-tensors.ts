/** Tensors as transformers has them, decoded from a GGUF file row by row as they are read. */

import { bytesOf, concatBytes } from "../../base/bytes.ts";
import { TacetError } from "../../base/errors.ts";
import type { FileTree } from "../../base/platform.ts";
import { toFloat16 } from "../../base/float16.ts";
import {
  type BlockForm,
  blocksOf,
  bytesOfBlock,
  quantizeBlocks,
  type QuantizedBlocks,
  type RoundedMatrix,
} from "../quantize-blocks.ts";
import type { TensorInfo } from "../safetensors.ts";
import { SliceReader } from "../slice-reader.ts";
import { decodeBlocks } from "./decode-blocks.ts";
import { blocksFrom, moved, stretches, turned } from "./moved-entries.ts";
import type { PlannedTensor, RowRun } from "./planned-tensor.ts";
import { exactBits, repackBlocks } from "./repack-blocks.ts";
import { isFloat, kindNamed, type ReadKind } from "./tensor-kinds.ts";

/** Entries that share a scale, here. */
const BLOCK = 32;
const BYTES = { F32: 4, F16: 2, BF16: 2 } as const;

/** All of a file's tensors as one file that is nowhere: one behind the other, in F32, F16 or BF16. */
export class ConvertedTensors {
  readonly infos: ReadonlyMap<string, TensorInfo>;
  /** Length of that file. */
  readonly bytes: number;
  readonly #tree: FileTree;
  readonly #path: string;
  readonly #turned = new SliceReader();
  readonly #placed: readonly {
    readonly start: number;
    readonly bytes: number;
    readonly tensor: PlannedTensor;
  }[];

  /** @param path of the GGUF file in `tree`, of several the first; the tensors' infos have the same */
  constructor(tree: FileTree, path: string, tensors: readonly PlannedTensor[]) {
    this.#tree = tree;
    this.#path = path;
    let end = 0;
    const infos = new Map<string, TensorInfo>();
    this.#placed = tensors.map((tensor) => {
      const { name, shape, dtype } = tensor;
      const bytes = shape.reduce((product, size) => product * size, BYTES[dtype]);
      const start = end;
      const rounded = this.#roundedOf(tensor);
      infos.set(name, { name, dtype, shape, path, offset: start, bytes, ...(rounded ? { rounded } : {}) });
      end += bytes;
      return { start, bytes, tensor };
    });
    this.infos = infos;
    this.bytes = end;
  }

  /** Bytes [offset, offset + length) of the file that is nowhere. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    const out = new Uint8Array(length);
    for (const { start, bytes, tensor } of this.#placed) {
      const from = Math.max(offset, start);
      const to = Math.min(offset + length, start + bytes);
      if (from < to) out.set(await this.#readOf(tensor, from - start, to - start), from - offset);
    }
    return out;
  }

  /** Bytes [from, to) of a tensor. */
  async #readOf(tensor: PlannedTensor, from: number, to: number): Promise<Uint8Array> {
    if (tensor.isTurned) {
      const [width, rows] = tensor.shape.slice(-2);
      const size = BYTES[tensor.dtype];
      const range = { offset: from, length: to - from, sliceBytes: width * rows * size };
      return await this.#turned.read(tensor, range, async (index) =>
        turned(await this.#rows(tensor, index * rows, rows), width, size),
      );
    }
    const rowBytes = tensor.width * BYTES[tensor.dtype];
    const first = Math.floor(from / rowBytes);
    const rows = await this.#rows(tensor, first, Math.ceil(to / rowBytes) - first);
    return rows.subarray(from - first * rowBytes, to - first * rowBytes);
  }

  async #rows(tensor: PlannedTensor, first: number, count: number): Promise<Uint8Array> {
    const { dtype, undo, columnFrom, width } = tensor;
    const isStored = (kind: ReadKind) => kind === dtype && !undo && !columnFrom;
    const parts = (await this.#sourceRows(tensor, first, count)).map(({ kind, bytes }) => {
      if (isStored(kind)) return bytes;
      const decoded = decodeBlocks(kind, bytes);
      const values = columnFrom ? moved(decoded, width, 1, columnFrom) : decoded;
      if (undo) for (let i = 0; i < values.length; i++) values[i] = undo(values[i]);
      return bytesOf(dtype === "F16" ? toFloat16(values) : values);
    });
    return parts.length === 1 ? parts[0] : concatBytes(...parts);
  }

  /** A matrix of blocks as our own: exactly where bits can be moved, else rounded to 8 bits in blocks of 32. */
  #roundedOf(tensor: PlannedTensor): RoundedMatrix | undefined {
    const { runs, shape, width, undo, columnFrom } = tensor;
    if (shape.length < 2 || undo || runs.some(({ kind }) => isFloat(kind))) return undefined;
    const blockFrom = columnFrom && blocksFrom(columnFrom, width, BLOCK);
    if (columnFrom && !blockFrom) return undefined;
    const bits = runs.every(({ kind }) => exactBits(kind) === 4) ? 4 : 8;
    const form: BlockForm = { bits, block: BLOCK };
    return {
      form,
      ...(tensor.isTurned ? { storedInOut: true } : {}),
      readRows: async (first, count) => {
        const parts = await this.#sourceRows(tensor, first, count);
        const rows = joined(parts.map((part) => roundedRows(part, width, form, this.#path)));
        if (!blockFrom) return rows;
        const [blocks, size] = [blocksOf(width, form), bytesOfBlock(form)];
        return {
          codes: moved(rows.codes, blocks * size, size, blockFrom),
          scales: moved(rows.scales, blocks, 1, blockFrom),
        };
      },
    };
  }

  /** Rows as the file has them, in the tensor's order. */
  async #sourceRows(
    { runs, width, rowFrom }: PlannedTensor,
    first: number,
    count: number,
  ): Promise<SourceRows[]> {
    if (rowFrom === undefined) return await this.#readRuns(runs, width, first, count);
    const from = Array.from({ length: count }, (_, i) => rowFrom(first + i));
    // Bits are moved where all rows are of one kind.
    const [{ kind: one }] = runs;
    const kind = runs.every((each) => each.kind === one) ? one : "F32";
    const rowBytes = bytesOfRow(kind, width);
    const picked = new Uint8Array(count * rowBytes);
    for (const { start, end } of stretches(from)) {
      const read = await this.#readRuns(runs, width, start, end - start);
      const parts = read.map((part) =>
        part.kind === kind ? part.bytes : bytesOf(decodeBlocks(part.kind, part.bytes)),
      );
      const rows = parts.length === 1 ? parts[0] : concatBytes(...parts);
      for (const [i, row] of from.entries()) {
        if (row < start || row >= end) continue;
        picked.set(rows.subarray((row - start) * rowBytes, (row - start + 1) * rowBytes), i * rowBytes);
      }
    }
    return [{ kind, bytes: picked }];
  }

  async #readRuns(
    runs: readonly RowRun[],
    width: number,
    first: number,
    count: number,
  ): Promise<SourceRows[]> {
    const parts: SourceRows[] = [];
    let start = 0;
    for (const run of runs) {
      const from = Math.max(first, start);
      const to = Math.min(first + count, start + run.count);
      if (from < to) {
        const rowBytes = bytesOfRow(run.kind, width);
        const offset = run.source.offset + (run.first + from - start) * rowBytes;
        parts.push({
          kind: run.kind,
          bytes: await this.#tree.read(run.source.path, offset, (to - from) * rowBytes),
        });
      }
      start += run.count;
    }
    return parts;
  }
}

interface SourceRows {
  readonly kind: ReadKind;
  readonly bytes: Uint8Array;
}

function roundedRows(
  { kind, bytes }: SourceRows,
  width: number,
  form: BlockForm,
  path: string,
): QuantizedBlocks {
  const rows =
    exactBits(kind) === form.bits
      ? repackBlocks(kind, bytes)
      : quantizeBlocks(decodeBlocks(kind, bytes), width, form);
  if (rows?.scales.every(Number.isFinite)) return rows;
  throw new TacetError("bad_checkpoint", `${path}: a tensor of ${kind} has a weight that is not finite`, {
    hint: "the file is damaged: download it again",
  });
}

function joined(parts: readonly QuantizedBlocks[]): QuantizedBlocks {
  if (parts.length === 1) return parts[0];
  const scales = new Float32Array(parts.reduce((sum, part) => sum + part.scales.length, 0));
  let at = 0;
  for (const part of parts) {
    scales.set(part.scales, at);
    at += part.scales.length;
  }
  return { codes: concatBytes(...parts.map(({ codes }) => codes)), scales };
}

function bytesOfRow(kind: ReadKind, width: number): number {
  const { entries, bytes } = kindNamed(kind);
  return (width / entries) * bytes;
}
