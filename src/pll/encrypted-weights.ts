/** A key of one group as it travels: B and H, of each word the top bits. */
import { packedBytes, RING_DEGREE } from "../ring/kernels.ts";
import type { Parameters } from "../rlwe/parameters.ts";

/** What a client gets of a key for one group. Public: it says nothing of W to whoever has not S. */
export interface EncryptedWeights {
  /** Top weightBits bits of B, (rows, n), each row a little-endian bit stream. */
  readonly weights: Uint8Array;
  /** Top hintBits bits of H, (rows, N), likewise. */
  readonly hint: Uint8Array;
}

/** Bytes of a group's {@link EncryptedWeights}. */
export function encryptedWeightBytes(
  p: Parameters,
  rows: number,
  inFeatures: number,
): { readonly weights: number; readonly hint: number } {
  return {
    weights: rows * packedBytes(inFeatures, p.weightBits),
    hint: rows * packedBytes(RING_DEGREE, p.hintBits),
  };
}
