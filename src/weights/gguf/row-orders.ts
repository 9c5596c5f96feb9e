/** Rows of a tensor, or entries of a row, that llama.cpp has in another order than transformers. */

import { headSize, keyValueHeads } from "./family-fields.ts";
import type { Metadata } from "./metadata.ts";

export interface Order {
  /** How many there must be. */
  readonly count: number;
  /** What they are, for errors. */
  readonly what: string;
  /** Where in the file the one stands that is at this place in transformers. */
  readonly from: (place: number) => number;
}

/**
 * Of q and k: llama.cpp turns neighbouring entries where transformers turns entry i and i + d/2, and has put their rows
 * beside each other for that. Row i of a head's first half stands at 2i, row i of its second half at 2i + 1.
 */
export function pairsBesideEachOther(m: Metadata, stem: string): Order | undefined {
  const heads =
    stem === "attn_q" ? m.count(".attention.head_count") : stem === "attn_k" ? keyValueHeads(m) : 0;
  if (heads === 0) return undefined;
  const size = headSize(m);
  const half = size / 2;
  return {
    count: heads * size,
    what: `${heads} heads of ${size}`,
    from(row) {
      const within = row % size;
      return row - within + (within < half ? 2 * within : 2 * (within - half) + 1);
    },
  };
}

/**
 * Of q, k and v in one tensor. transformers has, for each head of k, the heads of q that use it, then k's, then v's;
 * llama.cpp has all of q, then all of k, then all of v.
 */
export function partsBehindEachOther(m: Metadata, stem: string): Order | undefined {
  if (stem !== "attn_qkv") return undefined;
  const size = headSize(m);
  const kvHeads = keyValueHeads(m);
  const heads = m.count(".attention.head_count");
  const queries = heads / kvHeads;
  if (!Number.isInteger(queries)) {
    throw m.bad(".attention.head_count", `, ${heads}, is not a multiple of ${kvHeads} heads of k and v`);
  }
  return {
    count: (heads + 2 * kvHeads) * size,
    what: `${heads} heads of q and ${kvHeads} of k and v, each of ${size},`,
    from(row) {
      const head = Math.floor(row / size);
      const group = Math.floor(head / (queries + 2));
      const part = head % (queries + 2);
      const target =
        part < queries ? group * queries + part : heads + (part === queries ? 0 : kvHeads) + group;
      return target * size + (row % size);
    },
  };
}
