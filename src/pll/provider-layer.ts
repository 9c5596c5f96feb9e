/**
 * The provider's step: w = round_b0([W | P]·v mod 2^32), for T query vectors at once.
 *
 * A reply is a function of v and the layer alone: no randomness, no key, no state of the client, so any replica
 * answers and a retry of the same bytes gets the same answer. At most R·b0 bits leave per vector, whoever asks
 * and whatever is sent; the sum is complete before it is rounded (docs/security.md, rule 4). The arithmetic has
 * no branch and no index that depends on weights or queries.
 */
import { assertInteger, assertLength } from "../base/assert.ts";
import { TacetError } from "../base/errors.ts";
import { type Address, type Kernels, packedBytes } from "../ring/kernels.ts";
import type { BufferPool } from "../rlwe/buffer-pool.ts";
import { at, wordStride } from "../rlwe/mask-source.ts";
import {
  assertKernelParameters,
  type Layout,
  layoutOf,
  type Parameters,
  replyBits,
  uploadBits,
} from "../rlwe/parameters.ts";

/** Vectors that are unpacked at a time: bounds the scratch memory of a long query. */
const CHUNK_VECTORS = 64;

export interface ProviderLayerInput {
  readonly parameters: Parameters;
  readonly rows: number;
  readonly inFeatures: number;
  /** W, (rows, n). */
  readonly weights: Int16Array;
  /** P, (rows, n_pad). */
  readonly padding: Int16Array;
}

export class ProviderLayer {
  readonly rows: number;
  readonly inFeatures: number;
  /** Bytes of one packed query vector. */
  readonly queryBytes: number;
  /** Bytes of one packed reply vector. */
  readonly replyBytes: number;
  readonly #parameters: Parameters;
  readonly #kernels: Kernels;
  readonly #pool: BufferPool;
  readonly #layout: Layout;
  readonly #stride: number;
  readonly #uploadBits: number;
  readonly #replyBits: number;
  /** [W | P | 0], (rows, stride) i16. */
  readonly #matrix: Address;

  /** @throws RangeError on wrong lengths */
  constructor(kernels: Kernels, pool: BufferPool, input: ProviderLayerInput) {
    const { parameters, rows, inFeatures, weights, padding } = input;
    assertInteger(rows, "rows", 1, 1 << 20);
    assertLength(weights, "weights", rows * inFeatures);
    assertLength(padding, "padding", rows * parameters.paddingLength);
    this.rows = rows;
    this.#parameters = parameters;
    this.inFeatures = inFeatures;
    this.#kernels = kernels;
    this.#pool = pool;
    this.#layout = layoutOf(assertKernelParameters(parameters), inFeatures);
    this.#stride = wordStride(this.#layout);
    this.#uploadBits = uploadBits(parameters);
    this.#replyBits = replyBits(parameters, inFeatures);
    this.queryBytes = packedBytes(this.#layout.words, this.#uploadBits);
    this.replyBytes = packedBytes(rows, this.#replyBits);
    this.#matrix = kernels.allocate(2 * rows * this.#stride);
    const matrix = kernels.shorts(this.#matrix, rows * this.#stride);
    for (let r = 0; r < rows; r++) {
      matrix.set(weights.subarray(r * inFeatures, (r + 1) * inFeatures), r * this.#stride);
      const row = padding.subarray(r * parameters.paddingLength, (r + 1) * parameters.paddingLength);
      matrix.set(row, r * this.#stride + inFeatures);
    }
  }

  /**
   * @param query (vectors, queryBytes)
   * @returns (vectors, replyBytes)
   * @throws TacetError bad_query if the query is not exactly vectors·queryBytes long
   */
  answerQuery(query: Uint8Array, vectors: number): Uint8Array<ArrayBuffer> {
    this.checkQuery(query, vectors);
    const reply = new Uint8Array(vectors * this.replyBytes);
    for (let first = 0; first < vectors; first += CHUNK_VECTORS) {
      const count = Math.min(CHUNK_VECTORS, vectors - first);
      this.#answerChunk(
        query.subarray(first * this.queryBytes, (first + count) * this.queryBytes),
        count,
        reply.subarray(first * this.replyBytes, (first + count) * this.replyBytes),
      );
    }
    return reply;
  }

  /** @throws TacetError bad_query if the query is not exactly vectors·queryBytes long */
  checkQuery(query: Uint8Array, vectors: number): void {
    if (!(vectors >= 1) || query.length !== vectors * this.queryBytes) {
      throw new TacetError(
        "bad_query",
        `a query of ${vectors} vectors for this group has ${vectors * this.queryBytes} bytes, got ${query.length}`,
        { hint: "client and provider must use the same bundle and protocol version" },
      );
    }
  }

  /** W and P, to make the same layer elsewhere. Whoever has them has the adapter. */
  copyInput(): ProviderLayerInput {
    const { rows, inFeatures } = this;
    const { paddingLength } = this.#parameters;
    const matrix = this.#kernels.shorts(this.#matrix, rows * this.#stride);
    const weights = new Int16Array(rows * inFeatures);
    const padding = new Int16Array(rows * paddingLength);
    for (let r = 0; r < rows; r++) {
      const at = r * this.#stride;
      weights.set(matrix.subarray(at, at + inFeatures), r * inFeatures);
      padding.set(matrix.subarray(at + inFeatures, at + inFeatures + paddingLength), r * paddingLength);
    }
    return { parameters: this.#parameters, rows, inFeatures, weights, padding };
  }

  /** Vectors that take at most so many multiply-adds, and at least one. */
  vectorsWithin(products: number): number {
    return Math.max(1, Math.floor(products / (this.rows * this.#stride)));
  }

  #answerChunk(query: Uint8Array, vectors: number, reply: Uint8Array): void {
    const kernels = this.#kernels;
    const pool = this.#pool;
    const planeBytes = 2 * vectors * this.#stride;
    const packed = pool.acquire(query.length);
    const words = pool.acquire(4 * this.#stride);
    const lo = pool.acquire(planeBytes);
    const hi = pool.acquire(planeBytes);
    const sums = pool.acquire(4 * vectors * this.rows);
    const packedReply = pool.acquire(this.replyBytes);
    kernels.bytes(packed, query.length).set(query);
    for (let t = 0; t < vectors; t++) {
      kernels.unpackTop(at(packed, t * this.queryBytes), this.#layout.words, this.#uploadBits, words);
      const offset = 2 * t * this.#stride;
      kernels.splitWords(words, this.#stride, at(lo, offset), at(hi, offset));
    }
    kernels.innerProducts({
      lo,
      hi,
      planeRows: vectors,
      small: this.#matrix,
      smallRows: this.rows,
      length: this.#stride,
      out: sums,
      outPlaneStride: this.rows,
      outSmallStride: 1,
    });
    for (let t = 0; t < vectors; t++) {
      kernels.packTop(at(sums, 4 * t * this.rows), this.rows, this.#replyBits, packedReply);
      reply.set(kernels.bytes(packedReply, this.replyBytes), t * this.replyBytes);
    }
    pool.release(packed, query.length);
    pool.release(words, 4 * this.#stride);
    pool.release(lo, planeBytes);
    pool.release(hi, planeBytes);
    pool.release(sums, 4 * vectors * this.rows);
    pool.release(packedReply, this.replyBytes);
  }
}
