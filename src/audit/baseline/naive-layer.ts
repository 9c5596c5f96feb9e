/**
 * The plain HE layer that many would build first, to be attacked: the client encrypts x as one RLWE ciphertext, the
 * server multiplies it by its weights and sends the product back as it is.
 *
 *   c = (a·s + e + Δ·x, a);   reply_r = (Ŵ_r·c_0, Ŵ_r·c_1),   Ŵ_r = Σ_j W_rj·X^−j,
 *
 * so that coefficient 0 of Ŵ_r·x is Σ_j W_rj·x_j. No hint, no re-randomisation. Only the audit has it, and
 * test/layers.test.ts keeps provider and client from importing it.
 */
import type { RandomSource } from "../../ring/random-source.ts";
import { conjugate, isUnit, multiplyNegacyclic } from "../plain-ring.ts";
import { randomWords, uniformIntegers } from "../random-numbers.ts";

export interface NaiveCiphertext {
  readonly c0: Uint32Array;
  readonly c1: Uint32Array;
}

export class NaiveLayer {
  /** Smallest power of two that holds a row. */
  readonly degree: number;
  readonly #rows: readonly Uint32Array[];

  /** @param weights (rows, n) */
  constructor(weights: Int32Array, rows: number, n: number) {
    this.degree = 2 ** Math.ceil(Math.log2(n));
    this.#rows = Array.from({ length: rows }, (_, r) => {
      const row = new Uint32Array(this.degree);
      row.set(weights.subarray(r * n, (r + 1) * n));
      return conjugate(row);
    });
  }

  /** One row's reply to a ciphertext. */
  answer({ c0, c1 }: NaiveCiphertext, row: number): NaiveCiphertext {
    return {
      c0: multiplyNegacyclic(this.#rows[row], c0),
      c1: multiplyNegacyclic(this.#rows[row], c1),
    };
  }
}

export interface NaiveKey {
  readonly s: Int32Array;
}

/** An honest client's ciphertext of integers x; a is drawn until it is a unit, which half of all elements are. */
export function naiveEncrypt(
  x: ArrayLike<number>,
  degree: number,
  scale: number,
  random: RandomSource,
): { key: NaiveKey; ciphertext: NaiveCiphertext } {
  const s = uniformIntegers(random, degree, -1, 1);
  const e = uniformIntegers(random, degree, -3, 3);
  let a = randomWords(random, degree);
  while (!isUnit(a)) a = randomWords(random, degree);
  const c0 = multiplyNegacyclic(s, a);
  for (let i = 0; i < degree; i++) c0[i] += e[i] + (i < x.length ? scale * x[i] : 0);
  return { key: { s }, ciphertext: { c0, c1: a } };
}

/** Coefficient 0 of c_0 − c_1·s, over the scale. */
export function naiveDecrypt(reply: NaiveCiphertext, key: NaiveKey, scale: number): number {
  const mask = multiplyNegacyclic(key.s, reply.c1);
  return Math.round(((reply.c0[0] - mask[0]) | 0) / scale);
}
