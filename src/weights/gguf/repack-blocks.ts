/** Blocks of a GGUF file as our own (quantize-blocks.ts), exactly: only bits are moved. */

import { halfScale, TWICE_E2M1 } from "../mxfp4-numbers.ts";
import type { QuantizedBits, QuantizedBlocks } from "../quantize-blocks.ts";
import { half } from "./decode-blocks.ts";
import { kindNamed, type ReadKind } from "./tensor-kinds.ts";

/** Entries of a block, there and here. */
const BLOCK = 32;

interface ExactKind {
  /** That hold the codes. */
  readonly bits: QuantizedBits;
  readonly scaleOf: (bytes: Uint8Array, at: number) => number;
  readonly scaleBytes: number;
  readonly repack: (bytes: Uint8Array, at: number, codes: Uint8Array, to: number) => void;
}

const HALF_AND_SIGNED: ExactKind = { bits: 8, scaleOf: half, scaleBytes: 2, repack: fromSigned };
/** Kinds whose blocks of 32 have a scale and no minimum. */
const EXACT: Partial<Record<ReadKind, ExactKind>> = {
  Q4_0: { ...HALF_AND_SIGNED, bits: 4, repack: pairNeighbours },
  Q5_0: { ...HALF_AND_SIGNED, repack: fromFive },
  Q8_0: HALF_AND_SIGNED,
  MXFP4: { bits: 8, scaleOf: (bytes, at) => halfScale(bytes[at]), scaleBytes: 1, repack: fromE2m1 },
};

/** Bits of the blocks that hold this kind without another rounding; undefined: none do. */
export function exactBits(kind: ReadKind): QuantizedBits | undefined {
  return EXACT[kind]?.bits;
}

/** @param bytes whole blocks of a kind that {@link exactBits} has bits for */
export function repackBlocks(kind: ReadKind, bytes: Uint8Array): QuantizedBlocks {
  const { bytes: blockBytes } = kindNamed(kind);
  const blocks = bytes.length / blockBytes;
  const { bits, scaleOf, scaleBytes, repack } = EXACT[kind]!;
  const codeBytes = (BLOCK * bits) / 8;
  const codes = new Uint8Array(blocks * codeBytes);
  const scales = new Float32Array(blocks);
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
