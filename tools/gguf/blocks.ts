/**
 * Storage types of GGUF tensors, as ggml's reference quantizers encode them (ggml-quants.c): a row is cut into blocks
 * of `values` entries, and each block takes `bytes`. A new type is one more entry of BLOCKS.
 */
import { float16Bits } from "../../src/weights/float16.ts";

export interface BlockType {
  /** enum ggml_type. */
  readonly id: number;
  /** Entries of a block; a row must be a multiple of it. */
  readonly values: number;
  readonly bytes: number;
  /** Encodes block number `block` of `from` to its place in `to`. Entries are finite. */
  readonly encode: (from: Float32Array, block: number, to: DataView) => void;
}

export type BlockName = "F32" | "F16" | "Q4_0" | "Q8_0";

export const BLOCKS: Readonly<Record<BlockName, BlockType>> = {
  F32: { id: 0, values: 1, bytes: 4, encode: (from, i, to) => to.setFloat32(4 * i, from[i], true) },
  F16: {
    id: 1,
    values: 1,
    bytes: 2,
    encode: (from, i, to) => to.setUint16(2 * i, float16Bits(from[i]), true),
  },
  Q4_0: { id: 2, values: 32, bytes: 18, encode: encodeQ4_0 },
  Q8_0: { id: 8, values: 32, bytes: 34, encode: encodeQ8_0 },
};

/** @throws RangeError unless whole blocks are given */
export function encodeBlocks(values: Float32Array, name: BlockName): Uint8Array {
  const type = BLOCKS[name];
  const blocks = values.length / type.values;
  if (!Number.isInteger(blocks))
    throw new RangeError(`${values.length} entries are not whole blocks of ${name} (${type.values})`);
  const bytes = new Uint8Array(blocks * type.bytes);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < blocks; i++) type.encode(values, i, view);
  return bytes;
}

/** x ≈ d·(q − 8), q in 0 … 15: d is the largest entry, with its sign, over −8, so that this one is exact. */
function encodeQ4_0(from: Float32Array, block: number, to: DataView): void {
  const start = 32 * block;
  let largest = 0;
  for (let i = start; i < start + 32; i++) if (Math.abs(from[i]) > Math.abs(largest)) largest = from[i];
  const scale = Math.fround(largest / -8);
  const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
  const code = (x: number) => Math.min(15, Math.trunc(x * inverse + 8.5));
  const at = 18 * block;
  to.setUint16(at, float16Bits(scale), true);
  for (let i = 0; i < 16; i++)
    to.setUint8(at + 2 + i, code(from[start + i]) | (code(from[start + 16 + i]) << 4));
}

/** x ≈ d·q, q in −127 … 127. */
function encodeQ8_0(from: Float32Array, block: number, to: DataView): void {
  const start = 32 * block;
  let largest = 0;
  for (let i = start; i < start + 32; i++) largest = Math.max(largest, Math.abs(from[i]));
  const scale = Math.fround(largest / 127);
  const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
  const at = 34 * block;
  to.setUint16(at, float16Bits(scale), true);
  for (let i = 0; i < 32; i++) to.setInt8(at + 2 + i, roundAway(Math.fround(from[start + i] * inverse)));
}

/** Half away from zero, as C's roundf. */
export const roundAway = (x: number) => Math.sign(x) * Math.floor(Math.abs(x) + 0.5);
