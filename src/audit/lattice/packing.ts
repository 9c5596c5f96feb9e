/**
 * Several small unknowns in one reply: k entries of σ·4.13 values each from m replies of b0 bits, k·h + slack ≤ m·b0.
 *
 *   reply = z_i + Σ_j M_ij·z_{m+j} mod 2^b0,   i < m, j < k − m
 *
 * With random M the entries are the shortest solution of these congruences almost surely, found by closest-vector search
 * in a lattice of dimension k. One lattice serves all blocks and rows. This is how a thief reaches the information bound
 * of Q·b0 bits a row (docs/parameters.md §After queries); the lattice is that of Lagarias and Odlyzko's low-density subset sums.
 */
import type { RandomSource } from "../../ring/random-source.ts";
import { randomWords } from "../random-numbers.ts";
import { closestRest } from "./closest-vector.ts";
import { type GramSchmidt, lllReduce } from "./lll.ts";

export interface Packing {
  /** k: unknowns of a block. */
  readonly unknowns: number;
  /** m: replies that a block takes. */
  readonly replies: number;
  readonly replyBits: number;
  /** M, (m, k − m), entries below 2^b0. */
  readonly multipliers: Float64Array;
  readonly basis: readonly Float64Array[];
  readonly gramSchmidt: GramSchmidt;
}

/** Bits by which the replies exceed the entropy of the unknowns, so that the shortest solution is the right one. */
const SLACK_BITS = 8;
/** Larger blocks waste less and cost more to search. */
const MOST_UNKNOWNS = 36;

/** The (k, m) with the most unknowns per reply. @param entropy h in bits of one unknown */
export function packingShape(entropy: number, replyBits: number): { unknowns: number; replies: number } {
  let best = { unknowns: 1, replies: Math.ceil(entropy / replyBits) };
  for (let unknowns = 2; unknowns <= MOST_UNKNOWNS; unknowns++) {
    const replies = Math.ceil((unknowns * entropy + SLACK_BITS) / replyBits);
    if (replies < unknowns && unknowns * best.replies > best.unknowns * replies) best = { unknowns, replies };
  }
  return best;
}

export function makePacking(entropy: number, replyBits: number, random: RandomSource): Packing {
  const { unknowns: k, replies: m } = packingShape(entropy, replyBits);
  const modulus = 2 ** replyBits;
  const multipliers = Float64Array.from(randomWords(random, m * (k - m)), (word) => word % modulus);
  const basis: Float64Array[] = [];
  for (let i = 0; i < m; i++) {
    const row = new Float64Array(k);
    row[i] = modulus;
    basis.push(row);
  }
  for (let j = m; j < k; j++) {
    const row = new Float64Array(k);
    for (let i = 0; i < m; i++) row[i] = -multipliers[i * (k - m) + j - m];
    row[j] = 1;
    basis.push(row);
  }
  return { unknowns: k, replies: m, replyBits, multipliers, basis, gramSchmidt: lllReduce(basis) };
}

/** The coefficient, below 2^b0, of unknown j in reply i. */
export function coefficientOf({ unknowns, replies, multipliers }: Packing, i: number, j: number): number {
  if (j < replies) return i === j ? 1 : 0;
  return multipliers[i * (unknowns - replies) + j - replies];
}

/** The short z with these replies (integers below 2^b0). */
export function unpackBlock(packing: Packing, replies: ArrayLike<number>): Float64Array {
  const half = 2 ** (packing.replyBits - 1);
  const particular = new Float64Array(packing.unknowns);
  for (let i = 0; i < packing.replies; i++) {
    particular[i] = replies[i] >= half ? replies[i] - 2 * half : replies[i];
  }
  return closestRest(packing.basis, packing.gramSchmidt, particular);
}
