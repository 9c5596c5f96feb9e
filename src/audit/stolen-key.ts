/** A key as a thief reads it: B and H as words, a row after the other. */
import type { FetchedKey } from "../client/keys.ts";
import { packedBytes, RING_DEGREE } from "../ring/kernels.ts";
import type { GroupView } from "./group-view.ts";

export interface StolenKey {
  readonly id: Uint8Array;
  /** B, (R, n): its top weightBits bits. */
  readonly weights: Int32Array;
  /** H, (R, N): its top hintBits bits. */
  readonly hint: Int32Array;
  /** B and H as they came. */
  readonly packed: { readonly weights: Uint8Array; readonly hint: Uint8Array };
  /** Vectors that it still answers, as the thief counts. */
  left: number;
}

export function readKey({ parameters, rows, inFeatures, index }: GroupView, fetched: FetchedKey): StolenKey {
  const { weights, hint } = fetched.groups[index];
  return {
    id: fetched.id,
    weights: unpackRows(weights, rows, inFeatures, parameters.weightBits),
    hint: unpackRows(hint, rows, RING_DEGREE, parameters.hintBits),
    packed: { weights, hint },
    left: fetched.vectorsLeft,
  };
}

/** (rows, count) words from their top `bits` bits, each row a little-endian bit stream. */
function unpackRows(packed: Uint8Array, rows: number, count: number, bits: number): Int32Array {
  const words = new Int32Array(rows * count);
  const rowBytes = packedBytes(count, bits);
  for (let r = 0; r < rows; r++) {
    const row = packed.subarray(r * rowBytes, (r + 1) * rowBytes);
    for (let i = 0; i < count; i++) {
      let value = 0;
      for (let bit = 0; bit < bits; bit++) {
        const at = i * bits + bit;
        value |= ((row[at >> 3] >> (at & 7)) & 1) << bit;
      }
      words[r * count + i] = value << (32 - bits);
    }
  }
  return words;
}
