/**
 * The other plain layer: the server multiplies each encrypted x_j by W_rj and returns the products, which the client
 * decrypts and adds. Each product over x_j is a weight. (One published system for private LoRA works like this.)
 *
 *   c_j = (⟨a_j, s⟩ + e_j + Δ·x_j, a_j) mod 2^32, LWE of a toy dimension: the attack does not touch the encryption.
 */
import type { RandomSource } from "../../ring/random-source.ts";
import { randomWords, uniformIntegers } from "../random-numbers.ts";

const TOY_DIMENSION = 16;

export interface PartialCiphertexts {
  /** (n) and (n, dimension) */
  readonly b: Uint32Array;
  readonly a: Uint32Array;
}

export function encryptEach(
  x: ArrayLike<number>,
  scale: number,
  random: RandomSource,
): { s: Int32Array; ciphertexts: PartialCiphertexts } {
  const s = uniformIntegers(random, TOY_DIMENSION, -1, 1);
  const e = uniformIntegers(random, x.length, -3, 3);
  const a = randomWords(random, x.length * TOY_DIMENSION);
  const b = new Uint32Array(x.length);
  for (let j = 0; j < x.length; j++) b[j] = innerProduct(a, j, s) + e[j] + scale * x[j];
  return { s, ciphertexts: { b, a } };
}

/** The server's step for one row: W_j·c_j for every j, not added up. */
export function partialProducts({ b, a }: PartialCiphertexts, row: ArrayLike<number>): PartialCiphertexts {
  return {
    b: b.map((word, j) => Math.imul(word, row[j])),
    a: a.map((word, i) => Math.imul(word, row[Math.floor(i / TOY_DIMENSION)])),
  };
}

/** The attack: decrypt every product and divide by what was asked. */
export function weightsOfProducts(
  { b, a }: PartialCiphertexts,
  s: Int32Array,
  x: ArrayLike<number>,
  scale: number,
): Float64Array {
  return Float64Array.from(b, (word, j) =>
    x[j] === 0 ? 0 : Math.round(((word - innerProduct(a, j, s)) | 0) / (scale * x[j])),
  );
}

function innerProduct(a: Uint32Array, j: number, s: Int32Array): number {
  let sum = 0;
  for (let k = 0; k < TOY_DIMENSION; k++) sum += Math.imul(a[j * TOY_DIMENSION + k], s[k]);
  return sum | 0;
}
