/** What so many vectors under one key leave of it, in the worst case known; beyond its number, if it were not refused. */
import { keyAfter, readCoordinates } from "../rlwe/parameter-security.ts";
import type { Parameters } from "../rlwe/parameters.ts";

export interface WearRow {
  /** Vectors that one key has answered. */
  readonly vectors: number;
  /** LWE dimension that is left of its k. */
  readonly dimension: number;
  readonly coreBits: number;
  readonly standardBits: number;
  /** Whether the provider refuses before. */
  readonly isRefused: boolean;
}

/** Parts of the vectors that a key answers. */
const PARTS = [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2];

export function keyWear(p: Parameters): WearRow[] {
  return PARTS.map((part) => {
    const vectors = Math.round(part * p.vectorsPerKey);
    const dimension = Math.max(1, p.keyLength - readCoordinates(p, vectors));
    const { coreBits, standardBits } = keyAfter(p, vectors);
    return { vectors, dimension, coreBits, standardBits, isRefused: part > 1 };
  });
}
