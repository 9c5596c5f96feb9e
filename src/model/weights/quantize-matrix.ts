/** One matrix of a checkpoint, quantized piece by piece into a file. */

import { TacetError } from "../../base/errors.ts";
import type { FileWriter } from "../../base/platform.ts";
import {
  type BlockForm,
  blocksOf,
  quantizeBlocks,
  type QuantizedBlocks,
  sameForm,
  zeroPointBytes,
} from "../../weights/quantize-blocks.ts";
import { readTensorF32, type TensorInfo } from "../../weights/safetensors.ts";
import { convertRows, joinForms } from "../../weights/join-forms.ts";
import type { DemandedMatrix } from "./weight-demand.ts";
import { rowsOf, type StoredTensor } from "./weight-source.ts";

/** Weights that are read at a time. */
const CHUNK = 1 << 22;

/**
 * Writes the codes of all rows, then the scales of all rows, then their zero points where the form has them.
 *
 * @param onRead is told the bytes that were read
 * @throws TacetError bad_checkpoint for a weight that is not finite
 */
export async function writeQuantizedMatrix(
  writer: FileWriter,
  { matrix, form, parts }: DemandedMatrix & { readonly form: BlockForm },
  onRead: (bytes: number) => void,
): Promise<void> {
  const { inFeatures, storedInOut = false } = matrix;
  const rows = rowsOf(matrix);
  const scales = new Float32Array(rows * blocksOf(inFeatures, form));
  const zeroPoints = new Uint8Array(rows * zeroPointBytes(inFeatures, form));
  let at = 0;
  let pointsAt = 0;
  for (const part of parts) {
    for await (const quantized of quantizedRows(part, inFeatures, form, storedInOut, onRead)) {
      await writer.append(quantized.codes);
      scales.set(quantized.scales, at);
      at += quantized.scales.length;
      if (!quantized.zeroPoints) continue;
      zeroPoints.set(quantized.zeroPoints, pointsAt);
      pointsAt += quantized.zeroPoints.length;
    }
  }
  await writer.append(new Uint8Array(scales.buffer));
  if (zeroPoints.length > 0) await writer.append(zeroPoints);
}

/** The rows of a part, some at a time; as they are where the file holds them in a form that this one holds. */
async function* quantizedRows(
  part: StoredTensor,
  columns: number,
  form: BlockForm,
  storedInOut: boolean,
  onRead: (bytes: number) => void,
): AsyncIterable<QuantizedBlocks> {
  const { rounded } = part.info;
  const isAlongRows = rounded && (rounded.storedInOut ?? false) === storedInOut;
  if (isAlongRows && sameForm(joinForms([rounded.form, form]), form)) {
    const rows = part.info.shape[storedInOut ? 1 : 0];
    yield* rowsInSteps({ rows, bytes: part.info.bytes }, columns, onRead, async (first, count) =>
      convertRows(await rounded.readRows(first, count), columns, rounded.form, form),
    );
    return;
  }
  for await (const weights of numberRows(part, columns, storedInOut, onRead)) {
    const quantized = quantizeBlocks(weights, columns, form);
    if (!quantized) throw notFinite(part.info);
    yield quantized;
  }
}

function numberRows(
  part: StoredTensor,
  columns: number,
  storedInOut: boolean,
  onRead: (bytes: number) => void,
): AsyncIterable<Float32Array> {
  const { tree, info } = part;
  if (storedInOut) return transposedRows(part, columns, onRead);
  const rowBytes = info.bytes / info.shape[0];
  return rowsInSteps({ rows: info.shape[0], bytes: info.bytes }, columns, onRead, (first, count) =>
    readTensorF32(tree, { ...info, offset: info.offset + first * rowBytes, bytes: count * rowBytes }),
  );
}

/** What `read` gives of the rows of a matrix, some at a time. */
async function* rowsInSteps<T>(
  { rows, bytes }: { readonly rows: number; readonly bytes: number },
  columns: number,
  onRead: (bytes: number) => void,
  read: (first: number, count: number) => Promise<T>,
): AsyncIterable<T> {
  const step = Math.max(1, Math.floor(CHUNK / columns));
  for (let row = 0; row < rows; row += step) {
    const count = Math.min(step, rows - row);
    const part = await read(row, count);
    onRead((count * bytes) / rows);
    yield part;
  }
}

/** The columns of a matrix stored (in, out), some at a time. */
async function* transposedRows(
  { tree, info }: StoredTensor,
  columns: number,
  onRead: (bytes: number) => void,
): AsyncIterable<Float32Array> {
  const rows = info.shape[1];
  const stored = await readTensorF32(tree, info);
  onRead(info.bytes);
  const step = Math.max(1, Math.floor(CHUNK / columns));
  for (let row = 0; row < rows; row += step) {
    const count = Math.min(step, rows - row);
    const weights = new Float32Array(count * columns);
    for (let column = 0; column < columns; column++) {
      for (let i = 0; i < count; i++) weights[i * columns + column] = stored[column * rows + row + i];
    }
    yield weights;
  }
}

function notFinite({ name, path }: TensorInfo): TacetError {
  return new TacetError("bad_checkpoint", `${path}: tensor ${name} has a weight that is not finite`, {
    hint: "the file is damaged: download it again",
  });
}
