/** Blocks of a GGUF file as our own (quantize-blocks.ts), exactly: only bits are moved. */

import { halfScale, MAX_SCALE, TWICE_E2M1 } from "../mxfp4-numbers.ts";
import type { QuantizedBits, QuantizedBlocks } from "../quantize-blocks.ts";
import { half } from "./decode-blocks.ts";
import { kindNamed, type ReadKind } from "./tensor-kinds.ts";

/** Entries of a block, there and here. */
const BLOCK = 32;

/** Kinds whose blocks of 32 have a scale and no minimum, with the bits that hold their codes. */
const EXACT: Partial<Record<ReadKind, QuantizedBits>> = { Q4_0: 4, Q5_0: 8, Q8_0: 8, MXFP4: 8 };

interface Form {
  readonly scaleOf: (bytes: Uint8Array, at: number) => number;
  readonly scaleBytes: number;
  readonly repack: (bytes: Uint8Array, at: number, codes: Uint8Array, to: number) => void;
}

const HALF_AND_SIGNED: Form = { scaleOf: half, scaleBytes: 2, repack: fromSigned };
const FORMS: Partial<Record<ReadKind, Form>> = {
  Q4_0: { ...HALF_AND_SIGNED, repack: pairNeighbours },
  Q5_0: { ...HALF_AND_SIGNED, repack: fromFive },
  Q8_0: HALF_AND_SIGNED,
  MXFP4: {
    // What float32 does not hold is refused as not finite.
    scaleOf: (bytes, at) => (bytes[at] > MAX_SCALE ? Number.NaN : halfScale(bytes[at])),
    scaleBytes: 1,
    repack: fromE2m1,
  },
};

/** Bits of the blocks that hold this kind without another rounding; undefined: none do. */
export function exactBits(kind: ReadKind): QuantizedBits | undefined {
  return EXACT[kind];
}

/** @param bytes whole blocks of a kind that {@link exactBits} has bits for */
export function repackBlocks(kind: ReadKind, bytes: Uint8Array): QuantizedBlocks {
  const { bytes: blockBytes } = kindNamed(kind);
  const blocks = bytes.length / blockBytes;
  const codeBytes = (BLOCK * EXACT[kind]!) / 8;
  const codes = new Uint8Array(blocks * codeBytes);
  const scales = new Float32Array(blocks);
  const { scaleOf, scaleBytes, repack } = FORMS[kind]!;
  for (let b = 0; b < blocks; b++) {
    scales[b] = scaleOf(bytes, b * blockBytes);
    repack(bytes, b * blockBytes + scaleBytes, codes, b * codeBytes);
  }
  return { codes, scales };
}

/** A byte of Q4_0 has entries i and i + 16, one of ours 2i and 2i + 1. */
function pairNeighbours(bytes: Uint8Array, at: number, codes: Uint8Array, to: number): void {
  for (let i = 0; i < 8; i++) {
    const [even, odd] = [bytes[at + 2 * i], bytes[at + 2 * i + 1]];
    codes[to + i] = (even & 15) | ((odd & 15) << 4);
    codes[to + 8 + i] = (even >> 4) | (odd & 0xf0);
  }
}

/** q − 16, with the zero at 128. */
function fromFive(bytes: Uint8Array, at: number, codes: Uint8Array, to: number): void {
  for (let i = 0; i < BLOCK; i++) {
    const high = (bytes[at + (i >> 3)] >> (i & 7)) & 1;
    const both = bytes[at + 4 + (i & 15)];
    codes[to + i] = ((i < 16 ? both & 15 : both >> 4) | (high << 4)) + 112;
  }
}

/** Twice the number, with the zero at 128: 8 bits hold it exactly. No 4 do, since the numbers are not evenly spaced. */
function fromE2m1(bytes: Uint8Array, at: number, codes: Uint8Array, to: number): void {
  for (let i = 0; i < 16; i++) {
    codes[to + i] = 128 + TWICE_E2M1[bytes[at + i] & 15];
    codes[to + 16 + i] = 128 + TWICE_E2M1[bytes[at + i] >> 4];
  }
}

function fromSigned(bytes: Uint8Array, at: number, codes: Uint8Array, to: number): void {
  for (let i = 0; i < BLOCK; i++) codes[to + i] = bytes[at + i] ^ 0x80;
}
