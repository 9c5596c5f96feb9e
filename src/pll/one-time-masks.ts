/** The masks of one query, in kernel memory, and how far they have been used. */
import type { Address } from "../ring/kernels.ts";

/** Masks serve one query: a mask under two activations would reveal their difference. */
export class OneTimeMasks {
  readonly vectors: number;
  /** (vectors, stride) u32: C·s + e; a query turns it into v. */
  readonly words: Address;
  /** (vectors, rows) u32: H·s. */
  readonly hintProducts: Address;
  /** S of each vector; 0 stands for an encryption of zero. */
  readonly scales: Float64Array;
  state: "fresh" | "sent" | "spent" = "fresh";

  constructor(vectors: number, words: Address, hintProducts: Address) {
    this.vectors = vectors;
    this.words = words;
    this.hintProducts = hintProducts;
    this.scales = new Float64Array(vectors);
  }
}
