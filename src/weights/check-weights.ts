/** Looks for weights that are not finite. Loading does not: it would read a model of 12 GB twice. */

import { TacetError } from "../base/errors.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { quoteName } from "./json-file.ts";
import { readTensorBytes, type TensorInfo } from "./safetensors.ts";

/** Bytes read at once; a multiple of every element's size. */
const CHUNK_BYTES = 4 << 20;

/** Bits of the exponent, in a word of the tensor's type: all ones say infinity or NaN. */
const EXPONENTS = { F16: 0x7c00, BF16: 0x7f80, F32: 0x7f800000 } as const;

export interface CheckWeightsOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (fraction: number) => void;
}

/**
 * Reads all floating-point tensors, in chunks.
 * @throws TacetError bad_checkpoint naming the file and tensor of the first weight that is infinite or not a number;
 *   io_failed; aborted
 */
export async function checkWeights(checkpoint: Checkpoint, options: CheckWeightsOptions = {}): Promise<void> {
  const { signal, onProgress = () => {} } = options;
  const infos = checkpoint.names.map((name) => checkpoint.tensor(name));
  const total = infos.reduce((sum, { bytes }) => sum + bytes, 0);
  let before = 0;
  for (const info of infos) {
    for (let offset = 0; offset < info.bytes; offset += CHUNK_BYTES) {
      if (signal?.aborted) throw new TacetError("aborted", "stopped on request");
      const bytes = Math.min(CHUNK_BYTES, info.bytes - offset);
      const chunk = await readTensorBytes(checkpoint.tree, { ...info, offset: info.offset + offset, bytes });
      if (!allFinite(chunk, info)) throw notFinite(info);
      onProgress((before + offset + bytes) / total);
    }
    before += info.bytes;
  }
}

/** True for types that have no such values. */
function allFinite(chunk: Uint8Array, { dtype }: TensorInfo): boolean {
  if (dtype !== "F32" && dtype !== "F16" && dtype !== "BF16") return true;
  const exponent = EXPONENTS[dtype];
  const { buffer } = chunk.byteOffset % 4 === 0 ? chunk : chunk.slice();
  const start = chunk.byteOffset % 4 === 0 ? chunk.byteOffset : 0;
  const words =
    dtype === "F32"
      ? new Uint32Array(buffer, start, chunk.length / 4)
      : new Uint16Array(buffer, start, chunk.length / 2);
  for (let i = 0; i < words.length; i++) if ((words[i] & exponent) === exponent) return false;
  return true;
}

function notFinite({ name, path }: TensorInfo): TacetError {
  return new TacetError(
    "bad_checkpoint",
    `${path}: tensor ${quoteName(name)} has a weight that is not finite`,
    { hint: "the file is damaged, or its training failed: download it again" },
  );
}
