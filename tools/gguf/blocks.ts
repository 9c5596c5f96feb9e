/**
 * Storage types of GGUF tensors, as ggml's reference quantizers encode them (ggml-quants.c): a row is cut into blocks
 * of `values` entries, and each block takes `bytes`. A new type is one more entry of BLOCKS.
 */
import { float16Bits, widenF16 } from "../../src/base/float16.ts";

export interface BlockType {
  /** enum ggml_type. */
  readonly id: number;
  /** Entries of a block; a row must be a multiple of it. */
  readonly values: number;
  readonly bytes: number;
  /** Encodes block number `block` of `from` to its place in `to`. Entries are finite. */
  readonly encode: (from: Float32Array, block: number, to: DataView) => void;
}

export type BlockName =
  | "F32"
  | "F16"
  | "BF16"
  | "Q4_0"
  | "Q4_1"
  | "Q5_0"
  | "Q5_1"
  | "Q8_0"
  | "Q4_K"
  | "Q5_K"
  | "Q6_K"
  | "MXFP4";

export const BLOCKS: Readonly<Record<BlockName, BlockType>> = {
  F32: { id: 0, values: 1, bytes: 4, encode: (from, i, to) => to.setFloat32(4 * i, from[i], true) },
  F16: {
    id: 1,
    values: 1,
    bytes: 2,
    encode: (from, i, to) => to.setUint16(2 * i, float16Bits(from[i]), true),
  },
  BF16: {
    id: 30,
    values: 1,
    bytes: 2,
    encode: (from, i, to) => to.setUint16(2 * i, bfloat16(from[i]), true),
  },
  Q4_0: { id: 2, values: 32, bytes: 18, encode: encodeQ4_0 },
  Q4_1: { id: 3, values: 32, bytes: 20, encode: (from, block, to) => encodeWithMinimum(from, block, to, 4) },
  Q5_0: { id: 6, values: 32, bytes: 22, encode: encodeQ5_0 },
  Q5_1: { id: 7, values: 32, bytes: 24, encode: (from, block, to) => encodeWithMinimum(from, block, to, 5) },
  Q8_0: { id: 8, values: 32, bytes: 34, encode: encodeQ8_0 },
  Q4_K: { id: 12, values: 256, bytes: 144, encode: (from, block, to) => encodeGroups(from, block, to, 4) },
  Q5_K: { id: 13, values: 256, bytes: 176, encode: (from, block, to) => encodeGroups(from, block, to, 5) },
  Q6_K: { id: 14, values: 256, bytes: 210, encode: encodeQ6_K },
  MXFP4: { id: 39, values: 32, bytes: 17, encode: encodeMxfp4 },
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

/** x ≈ d·(q − 16), q in 0 … 31; the highest bits of all q stand before the others. */
function encodeQ5_0(from: Float32Array, block: number, to: DataView): void {
  const start = 32 * block;
  let largest = 0;
  for (let i = start; i < start + 32; i++) if (Math.abs(from[i]) > Math.abs(largest)) largest = from[i];
  const scale = Math.fround(largest / -16);
  const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
  const at = 22 * block;
  to.setUint16(at, float16Bits(scale), true);
  setFiveBits(to, at + 2, (i) => Math.min(31, Math.trunc(from[start + i] * inverse + 16.5)));
}

/** x ≈ d·q + m, q in 0 … 15 or 31: m is the least entry. */
function encodeWithMinimum(from: Float32Array, block: number, to: DataView, bits: 4 | 5): void {
  const entries = from.subarray(32 * block, 32 * block + 32);
  const least = Math.min(...entries);
  const most = 2 ** bits - 1;
  const scale = Math.fround(Math.fround(Math.max(...entries) - least) / most);
  const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
  const at = (bits === 4 ? 20 : 24) * block;
  to.setUint16(at, float16Bits(scale), true);
  to.setUint16(at + 2, float16Bits(least), true);
  const code = (i: number) =>
    Math.min(most, Math.trunc(Math.fround(Math.fround(entries[i] - least) * inverse) + 0.5));
  if (bits === 5) setFiveBits(to, at + 4, code);
  else for (let i = 0; i < 16; i++) to.setUint8(at + 4 + i, code(i) | (code(i + 16) << 4));
}

function setFiveBits(to: DataView, at: number, code: (i: number) => number): void {
  let high = 0;
  for (let i = 0; i < 32; i++) high |= (code(i) >> 4) << i;
  to.setUint32(at, high, true);
  for (let i = 0; i < 16; i++) to.setUint8(at + 4 + i, (code(i) & 15) | ((code(i + 16) & 15) << 4));
}

/**
 * Q4_K and Q5_K: x ≈ d·s·q − m·n for each 32 of 256, s and n of 6 bits. The least error is not looked for, as llama.cpp
 * does; files of this kind are for reading.
 */
function encodeGroups(from: Float32Array, block: number, to: DataView, bits: 4 | 5): void {
  const groups = Array.from({ length: 8 }, (_, group) => {
    const entries = from.subarray(256 * block + 32 * group, 256 * block + 32 * group + 32);
    const least = Math.min(0, ...entries);
    return { entries, least, step: (Math.max(...entries) - least) / (2 ** bits - 1) };
  });
  const d = halved(Math.max(...groups.map(({ step }) => step)) / 63);
  const m = halved(Math.max(...groups.map(({ least }) => -least)) / 63);
  const at = (bits === 4 ? 144 : 176) * block;
  to.setUint16(at, float16Bits(d), true);
  to.setUint16(at + 2, float16Bits(m), true);
  const codes = new Uint8Array(256);
  for (const [group, { entries, least, step }] of groups.entries()) {
    const s = Math.min(63, d === 0 ? 0 : Math.round(step / d));
    const n = Math.min(63, m === 0 ? 0 : Math.round(-least / m));
    setScaleAndMinimum(to, at + 4, group, s, n);
    for (let i = 0; i < 32; i++) {
      const code = d * s === 0 ? 0 : Math.round((entries[i] + m * n) / (d * s));
      codes[32 * group + i] = Math.max(0, Math.min(2 ** bits - 1, code));
    }
  }
  const low = at + (bits === 4 ? 16 : 48);
  for (let i = 0; i < 128; i++) {
    // Two groups of 32 share 32 bytes.
    const first = (i >> 5) * 64 + (i & 31);
    to.setUint8(low + i, (codes[first] & 15) | ((codes[first + 32] & 15) << 4));
  }
  if (bits === 4) return;
  for (let i = 0; i < 32; i++) {
    let high = 0;
    for (let group = 0; group < 8; group++) high |= (codes[32 * group + i] >> 4) << group;
    to.setUint8(at + 16 + i, high);
  }
}

/** Eight of each in 12 bytes: the upper two bits of the last four stand above the first four. */
function setScaleAndMinimum(to: DataView, at: number, group: number, scale: number, minimum: number): void {
  const or = (offset: number, bits: number) => to.setUint8(at + offset, to.getUint8(at + offset) | bits);
  if (group < 4) {
    or(group, scale);
    or(group + 4, minimum);
    return;
  }
  or(group + 4, (scale & 15) | ((minimum & 15) << 4));
  or(group - 4, (scale >> 4) << 6);
  or(group, (minimum >> 4) << 6);
}

/** x ≈ d·s·(q − 32) for each 16 of 256, s of 8 bits. */
function encodeQ6_K(from: Float32Array, block: number, to: DataView): void {
  const groups = Array.from({ length: 16 }, (_, group) => {
    const entries = from.subarray(256 * block + 16 * group, 256 * block + 16 * group + 16);
    return { entries, step: Math.max(...entries.map(Math.abs)) / 31 };
  });
  const d = halved(Math.max(...groups.map(({ step }) => step)) / 127);
  const at = 210 * block;
  const codes = new Uint8Array(256);
  for (const [group, { entries, step }] of groups.entries()) {
    const s = d === 0 ? 0 : Math.min(127, Math.round(step / d));
    to.setInt8(at + 192 + group, s);
    for (let i = 0; i < 16; i++) {
      const code = d * s === 0 ? 0 : Math.round(entries[i] / (d * s));
      codes[16 * group + i] = Math.max(-32, Math.min(31, code)) + 32;
    }
  }
  to.setUint16(at + 208, float16Bits(d), true);
  for (let i = 0; i < 128; i++) {
    // 64 bytes of lower halves for each 128 entries: entries i and i + 64.
    const first = (i >> 6) * 128 + (i & 63);
    to.setUint8(at + i, (codes[first] & 15) | ((codes[first + 64] & 15) << 4));
  }
  for (let i = 0; i < 64; i++) {
    const first = (i >> 5) * 128 + (i & 31);
    const high = [0, 32, 64, 96].map((step, k) => (codes[first + step] >> 4) << (2 * k));
    to.setUint8(at + 128 + i, high[0] | high[1] | high[2] | high[3]);
  }
}

const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6];

/** x ≈ E2M1[code]·2^(e − 127), of codes a sign and seven sizes: the largest of a block becomes 4 to 6. */
function encodeMxfp4(from: Float32Array, block: number, to: DataView): void {
  const entries = from.subarray(32 * block, 32 * block + 32);
  const largest = entries.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const exponent = largest === 0 ? 0 : Math.max(0, Math.floor(Math.log2(largest)) - 2 + 127);
  const code = (x: number) => {
    const size = Math.abs(x) / 2 ** (exponent - 127);
    const nearest = E2M1.reduce(
      (best, each, i) => (Math.abs(each - size) < Math.abs(E2M1[best] - size) ? i : best),
      0,
    );
    return nearest | (x < 0 ? 8 : 0);
  };
  const at = 17 * block;
  to.setUint8(at, exponent);
  for (let i = 0; i < 16; i++) to.setUint8(at + 1 + i, code(entries[i]) | (code(entries[16 + i]) << 4));
}

/** Rounded to what an F16 holds. */
function halved(x: number): number {
  return widenF16(Uint16Array.of(float16Bits(x)))[0];
}

/** Half away from zero, as C's roundf. */
export const roundAway = (x: number) => Math.sign(x) * Math.floor(Math.abs(x) + 0.5);

const one = new Float32Array(1);

/** The upper half of float32, ties to even. */
function bfloat16(x: number): number {
  one[0] = x;
  const bits = new Uint32Array(one.buffer)[0];
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}
