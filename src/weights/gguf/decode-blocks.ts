/**
 * The blocks of a GGUF file's tensors as float32, as ggml-quants.c defines them. d, m and the like are F16; q are
 * the integers that a block packs.
 *
 *   Q8_0  32 × int8           w = d·q              Q4_0, Q5_0  32 × 4, 5 bits   w = d·(q − 8), d·(q − 16)
 *   Q4_1, Q5_1  32 × 4, 5 bits   w = d·q + m
 *   Q4_K, Q5_K  8 × 32 × 4, 5 bits, scales s and minima n of 6 bits for each 32   w = d·s·q − m·n
 *   Q6_K  16 × 16 × 6 bits, scales s of 8 bits for each 16                         w = d·s·(q − 32)
 *   MXFP4  32 × 4 bits, an exponent of 8 bits (mxfp4-numbers.ts)
 */

import { halfScale, TWICE_E2M1 } from "../mxfp4-numbers.ts";
import { widenTensor } from "../safetensors.ts";
import { isFloat, kindNamed, type ReadKind } from "./tensor-kinds.ts";

/** @param bytes whole blocks, one behind the other */
export function decodeBlocks(kind: ReadKind, bytes: Uint8Array): Float32Array {
  if (isFloat(kind)) return widenTensor(kind, bytes);
  const { entries, bytes: blockBytes } = kindNamed(kind);
  const out = new Float32Array((bytes.length / blockBytes) * entries);
  const decode = DECODERS[kind];
  for (let at = 0, to = 0; at < bytes.length; at += blockBytes, to += entries) decode(bytes, at, out, to);
  return out;
}

type Decode = (bytes: Uint8Array, at: number, out: Float32Array, to: number) => void;

const DECODERS: Readonly<Record<Exclude<ReadKind, "F32" | "F16" | "BF16">, Decode>> = {
  Q8_0(bytes, at, out, to) {
    const d = half(bytes, at);
    for (let i = 0; i < 32; i++) out[to + i] = d * ((bytes[at + 2 + i] << 24) >> 24);
  },
  Q4_0(bytes, at, out, to) {
    const d = half(bytes, at);
    for (let i = 0; i < 16; i++) {
      const both = bytes[at + 2 + i];
      out[to + i] = d * ((both & 15) - 8);
      out[to + 16 + i] = d * ((both >> 4) - 8);
    }
  },
  Q4_1(bytes, at, out, to) {
    const d = half(bytes, at);
    const m = half(bytes, at + 2);
    for (let i = 0; i < 16; i++) {
      const both = bytes[at + 4 + i];
      out[to + i] = sum(d * (both & 15), m);
      out[to + 16 + i] = sum(d * (both >> 4), m);
    }
  },
  Q5_0(bytes, at, out, to) {
    const d = half(bytes, at);
    for (let i = 0; i < 32; i++) out[to + i] = d * (fiveBits(bytes, at + 2, i) - 16);
  },
  Q5_1(bytes, at, out, to) {
    const d = half(bytes, at);
    const m = half(bytes, at + 2);
    for (let i = 0; i < 32; i++) out[to + i] = sum(d * fiveBits(bytes, at + 4, i), m);
  },
  Q4_K(bytes, at, out, to) {
    const d = half(bytes, at);
    const m = half(bytes, at + 2);
    for (let group = 0; group < 8; group++) {
      const [scale, minimum] = scaleAndMinimum(bytes, at + 4, group);
      const [ds, mn] = [Math.fround(d * scale), Math.fround(m * minimum)];
      // Two groups share 32 bytes: one has the lower halves, the next the upper.
      const from = at + 16 + (group >> 1) * 32;
      const shift = (group & 1) * 4;
      for (let i = 0; i < 32; i++)
        out[to + group * 32 + i] = sum(ds * ((bytes[from + i] >> shift) & 15), -mn);
    }
  },
  Q5_K(bytes, at, out, to) {
    const d = half(bytes, at);
    const m = half(bytes, at + 2);
    for (let group = 0; group < 8; group++) {
      const [scale, minimum] = scaleAndMinimum(bytes, at + 4, group);
      const [ds, mn] = [Math.fround(d * scale), Math.fround(m * minimum)];
      const from = at + 48 + (group >> 1) * 32;
      const shift = (group & 1) * 4;
      for (let i = 0; i < 32; i++) {
        const high = (bytes[at + 16 + i] >> group) & 1;
        out[to + group * 32 + i] = sum(ds * (((bytes[from + i] >> shift) & 15) | (high << 4)), -mn);
      }
    }
  },
  Q6_K(bytes, at, out, to) {
    const d = half(bytes, at + 208);
    for (let i = 0; i < 256; i++) {
      // Each half of 128 has 64 bytes of lower parts, 32 of upper ones: entries i, i + 32, i + 64, i + 96 share one.
      const part = i >> 7;
      const quarter = (i >> 5) & 3;
      const low = bytes[at + part * 64 + (i & 63)];
      const high = bytes[at + 128 + part * 32 + (i & 31)];
      const q = ((quarter < 2 ? low & 15 : low >> 4) | (((high >> (2 * quarter)) & 3) << 4)) - 32;
      const scale = (bytes[at + 192 + (i >> 4)] << 24) >> 24;
      out[to + i] = Math.fround(d * scale) * q;
    }
  },
  MXFP4(bytes, at, out, to) {
    const d = halfScale(bytes[at]);
    for (let i = 0; i < 16; i++) {
      const both = bytes[at + 1 + i];
      out[to + i] = d * TWICE_E2M1[both & 15];
      out[to + 16 + i] = d * TWICE_E2M1[both >> 4];
    }
  },
};

/** The product is rounded to float32 before the sum, as ggml computes it. */
function sum(product: number, addend: number): number {
  return Math.fround(product) + addend;
}

/** Entry i of 32: its highest bit is in four bytes at `at`, the others behind them. */
function fiveBits(bytes: Uint8Array, at: number, i: number): number {
  const high = (bytes[at + (i >> 3)] >> (i & 7)) & 1;
  const both = bytes[at + 4 + (i & 15)];
  return (i < 16 ? both & 15 : both >> 4) | (high << 4);
}

/** Eight scales and eight minima of 6 bits in 12 bytes: of the last four of each the upper bits are with the first four. */
function scaleAndMinimum(bytes: Uint8Array, at: number, group: number): [number, number] {
  if (group < 4) return [bytes[at + group] & 63, bytes[at + 4 + group] & 63];
  const both = bytes[at + 4 + group];
  const scale = (both & 15) | ((bytes[at + group - 4] >> 6) << 4);
  return [scale, (both >> 4) | ((bytes[at + group] >> 6) << 4)];
}

/** An F16 at any byte. */
export function half(bytes: Uint8Array, at: number): number {
  const word = bytes[at] | (bytes[at + 1] << 8);
  const exponent = (word >> 10) & 31;
  const fraction = word & 1023;
  const sign = word >> 15 ? -1 : 1;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}
