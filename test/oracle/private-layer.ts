/**
 * The private linear layer straight from its equations, with none of the engine's code: S, E and E_H from the seed by
 * other implementations of SHAKE256 and ChaCha20, products from the definition, sums in BigInt.
 */
import { chacha20 } from "@noble/ciphers/chacha.js";
import { shake128, shake256 } from "@noble/hashes/sha3.js";
import { negacyclicProduct, transposedProduct } from "./ring.ts";
import { uniformErrors } from "./sampling.ts";

const N = 2048;
const K = 1456;

const le32 = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);

/** SHAKE256 over the domain and each part behind its length, 32 bytes. */
export function keySeedOracle(parts: readonly Uint8Array[]): Uint8Array {
  const framed = parts.flatMap((part) => [...le32(part.length), ...part]);
  return shake256(Uint8Array.from([...new TextEncoder().encode("tacet/v2/key"), ...framed]), { dkLen: 32 });
}

/** a_index of a bundle. */
export function publicElement(bundleId: Uint8Array, index: number): Uint32Array {
  const domain = new TextEncoder().encode("tacet/v2/public-element");
  const bytes = shake128(Uint8Array.from([...domain, ...bundleId, ...le32(index)]), { dkLen: 4 * N });
  return new Uint32Array(bytes.slice().buffer);
}

/** Two bytes for each integer: ChaCha20 under the seed, nonce (row, domain, 0). */
function draw(seed: Uint8Array, row: number, domain: number, count: number, bits: number): Int32Array {
  const nonce = Uint8Array.from([...le32(row), ...le32(domain), 0, 0, 0, 0]);
  return uniformErrors(chacha20(seed, nonce, new Uint8Array(2 * count)), count, bits);
}

export interface RowSecrets {
  /** k entries in [-63, 64]. */
  readonly secret: Int32Array;
  /** n entries in [-64, 63]. */
  readonly weightErrors: Int32Array;
  /** N entries in [-512, 511]. */
  readonly hintErrors: Int32Array;
}

export function rowSecrets(seed: Uint8Array, row: number, n: number): RowSecrets {
  return {
    secret: draw(seed, row, 1, K, 7).map((value) => value + 1),
    weightErrors: draw(seed, row, 2, n, 7),
    hintErrors: draw(seed, row, 3, N, 10),
  };
}

/** Coefficients of a row of S: k entries, then zeros. */
function padded(values: ArrayLike<number>): Int32Array {
  const all = new Int32Array(N);
  all.set(Array.from(values));
  return all;
}

/** B_r, n words: block j is a_(1+j)·S_r, then E_r and W_r are added. */
export function encryptedRow(
  bundleId: Uint8Array,
  weights: ArrayLike<number>,
  { secret, weightErrors }: RowSecrets,
): Uint32Array {
  const words = new Uint32Array(weights.length);
  for (let first = 0, block = 0; first < words.length; first += N, block++) {
    const product = negacyclicProduct(publicElement(bundleId, 1 + block), padded(secret));
    for (let i = first; i < Math.min(first + N, words.length); i++) {
      words[i] = product[i - first] + weightErrors[i] + weights[i];
    }
  }
  return words;
}

/** H_r, N words: the transpose of the first k columns of a_0, times S_r, and E_H. */
export function hintRow(bundleId: Uint8Array, { secret, hintErrors }: RowSecrets): Uint32Array {
  // entry i is Σ_j S_j·M(a_0)[j][i]: the transposed product
  const product = transposedProduct(publicElement(bundleId, 0), padded(secret));
  return product.map((word, i) => word + hintErrors[i]);
}

/** (a_0·s)[0..k). */
export function maskWithoutError(bundleId: Uint8Array, s: ArrayLike<number>): Uint32Array {
  return negacyclicProduct(publicElement(bundleId, 0), s).subarray(0, K);
}

/** y = Σ_j (M(a_(1+j))ᵀ·x̂_j)[0..k). */
export function hiddenPart(bundleId: Uint8Array, activation: ArrayLike<number>): Uint32Array {
  const y = new Uint32Array(K);
  for (let first = 0, block = 0; first < activation.length; first += N, block++) {
    const part = Array.from(activation).slice(first, first + N);
    const product = transposedProduct(publicElement(bundleId, 1 + block), part);
    for (let i = 0; i < K; i++) y[i] += product[i];
  }
  return y;
}

/** Σ a_i·b_i over whole integers. */
export function integerProduct(a: ArrayLike<number>, b: ArrayLike<number>): bigint {
  let sum = 0n;
  for (let i = 0; i < a.length; i++) sum += BigInt(a[i]) * BigInt(b[i]);
  return sum;
}
