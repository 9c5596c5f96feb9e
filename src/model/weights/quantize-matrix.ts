/** One matrix of a checkpoint, quantized piece by piece into a file. */

import { TacetError } from "../../base/errors.ts";
import type { FileWriter } from "../../base/platform.ts";
import { blocksOf, type QuantizedBits, quantizeBlocks } from "../../weights/quantize-blocks.ts";
import { readTensorF32, type TensorInfo } from "../../weights/safetensors.ts";
import type { DemandedMatrix } from "./weight-demand.ts";
import { rowsOf, type StoredTensor } from "./weight-source.ts";

/** Weights that are read at a time. */
const CHUNK = 1 << 22;

/**
 * Writes the codes of all rows, then the scales of all rows.
 *
 * @param onRead is told the bytes that were read
 * @throws TacetError bad_checkpoint for a weight that is not finite
 */
export async function writeQuantizedMatrix(
  writer: FileWriter,
  { matrix, bits, parts }: DemandedMatrix,
  onRead: (bytes: number) => void,
): Promise<void> {
  const { inFeatures, storedInOut = false } = matrix;
  const scales = new Float32Array(rowsOf(matrix) * blocksOf(inFeatures));
  let at = 0;
  for (const part of parts) {
    const rows = storedInOut
      ? transposedRows(part, inFeatures, onRead)
      : storedRows(part, inFeatures, onRead);
    for await (const weights of rows) {
      const quantized = quantizeBlocks(weights, inFeatures, bits as QuantizedBits);
      if (!quantized) throw notFinite(part.info);
      await writer.append(quantized.codes);
      scales.set(quantized.scales, at);
      at += quantized.scales.length;
    }
  }
  await writer.append(new Uint8Array(scales.buffer));
}

/** The rows of a matrix stored (out, in), some at a time. */
async function* storedRows(
  { tree, info }: StoredTensor,
  columns: number,
  onRead: (bytes: number) => void,
): AsyncIterable<Float32Array> {
  const rows = info.shape[0];
  const rowBytes = info.bytes / rows;
  const step = Math.max(1, Math.floor(CHUNK / columns));
  for (let row = 0; row < rows; row += step) {
    const count = Math.min(step, rows - row);
    const part = { ...info, offset: info.offset + row * rowBytes, bytes: count * rowBytes };
    const weights = await readTensorF32(tree, part);
    onRead(part.bytes);
    yield weights;
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
