/**
 * Makes a key of one group, row by row:
 *
 *   B_r = [M(a_1)_k; …; M(a_κ)_k]·S_r + E_r + W_r (+ D_r, marks.ts),   H_r = (M(a_0)ᵀ)_k·S_r + E_H,r   mod 2^32
 *
 * S, E, E_H come from the key's seed (key-secrets.ts), so the same key is the same bytes whenever and wherever it is made
 * (docs/security.md, rule 2). The arithmetic has no branch and no index that depends on weights or secrets.
 */
import { at, type Kernels, packedBytes, RING_DEGREE, SPECTRUM_BYTES } from "../ring/kernels.ts";
import type { BufferPool } from "../rlwe/buffer-pool.ts";
import { type Parameters, paddedLength } from "../rlwe/parameters.ts";
import type { PublicElements } from "../rlwe/public-elements.ts";
import { type EncryptedWeights, encryptedWeightBytes } from "./encrypted-weights.ts";
import type { LayerMarks } from "./layer-marks.ts";
import type { GroupMark } from "./marks.ts";
import { type LayerSecret, SecretStream, secretEntryBytes } from "./secret-stream.ts";

/** W of one group, and for which parameters. */
export interface ProviderLayerInput {
  readonly parameters: Parameters;
  readonly rows: number;
  readonly inFeatures: number;
  /** W, (rows, n), rows of norm R at most. */
  readonly weights: Int32Array;
}

/** Weights that are being encrypted. */
export interface WeightEncryption {
  /** Complete when next() has returned false. */
  readonly result: EncryptedWeights;
  /** Encrypts a row. False: it was the last. @param secret S of the seed, where the caller has it */
  next(secret?: LayerSecret): boolean;
  /** Wipes the seed. */
  end(): void;
}

export class WeightEncrypter {
  readonly #kernels: Kernels;
  readonly #pool: BufferPool;
  readonly #elements: PublicElements;
  readonly #input: ProviderLayerInput;
  readonly #marks: LayerMarks;

  constructor(
    kernels: Kernels,
    pool: BufferPool,
    elements: PublicElements,
    input: ProviderLayerInput,
    marks: LayerMarks,
  ) {
    this.#kernels = kernels;
    this.#pool = pool;
    this.#elements = elements;
    this.#input = input;
    this.#marks = marks;
  }

  /**
   * Whoever begins it ends it.
   *
   * @param mark of W + D; a seed belongs to one mark, or to none
   * @throws RangeError on a seed of another length
   */
  begin(seed: Uint8Array, mark?: GroupMark): WeightEncryption {
    const { parameters, rows, inFeatures } = this.#input;
    const { weights: weightBytes, hint: hintBytes } = encryptedWeightBytes(parameters, rows, inFeatures);
    const result = { weights: new Uint8Array(weightBytes), hint: new Uint8Array(hintBytes) };
    const stream = new SecretStream(this.#kernels, this.#pool, parameters, seed);
    let row = 0;
    return {
      result,
      next: (secret) => {
        try {
          this.#encryptRow(row, stream, mark, secret, result);
        } finally {
          this.#kernels.wipeScratch();
        }
        return ++row < rows;
      },
      end: () => stream.wipe(),
    };
  }

  #encryptRow(
    row: number,
    stream: SecretStream,
    mark: GroupMark | undefined,
    held: LayerSecret | undefined,
    result: EncryptedWeights,
  ): void {
    const kernels = this.#kernels;
    const pool = this.#pool;
    const { parameters, inFeatures: n, weights: all } = this.#input;
    const { keyLength, weightBits, hintBits } = parameters;
    const padded = paddedLength(n);
    const weightBytes = packedBytes(n, weightBits);
    const hintBytes = packedBytes(RING_DEGREE, hintBits);
    const entryBytes = secretEntryBytes(parameters);
    const rowBytes = entryBytes * keyLength;
    const secret = pool.acquire(rowBytes);
    const words = pool.acquire(4 * Math.max(padded, RING_DEGREE));
    const packed = pool.acquire(Math.max(weightBytes, hintBytes));
    const transformed = pool.acquire(SPECTRUM_BYTES);
    try {
      const small = held === undefined ? secret : at(held, row * rowBytes);
      if (held === undefined) stream.secret(row, secret);
      const spectrum = kernels.transformSmall(small, keyLength, transformed, entryBytes);
      const weights = kernels.words(words, padded);
      weights.fill(0);
      weights.set(all.subarray(row * n, (row + 1) * n));
      if (mark) this.#marks.add(row, mark, words);
      stream.addWeightErrors(row, words, padded);
      for (let block = 0; block * RING_DEGREE < n; block++) {
        const element = this.#elements.element(1 + block, false);
        const offset = block * RING_DEGREE;
        const length = Math.min(RING_DEGREE, n - offset);
        kernels.addProductOf(element, spectrum, at(words, 4 * offset), length);
      }
      kernels.packTop(words, n, weightBits, packed);
      result.weights.set(kernels.bytes(packed, weightBytes), row * weightBytes);

      kernels.wipe(words, 4 * RING_DEGREE);
      stream.addHintErrors(row, words);
      kernels.addProductOf(this.#elements.element(0, true), spectrum, words, RING_DEGREE);
      kernels.packTop(words, RING_DEGREE, hintBits, packed);
      result.hint.set(kernels.bytes(packed, hintBytes), row * hintBytes);
    } finally {
      pool.release(transformed, SPECTRUM_BYTES);
      pool.release(secret, rowBytes);
      pool.release(words, 4 * Math.max(padded, RING_DEGREE));
      pool.release(packed, Math.max(weightBytes, hintBytes));
    }
  }
}
