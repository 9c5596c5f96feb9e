/**
 * The provider's steps of one group: make a key, answer a query under it.
 *
 *   key     B_r = [M(a_1)_k; …; M(a_κ)_k]·S_r + E_r + W_r (+ D_r, marks.ts),   H_r = (M(a_0)ᵀ)_k·S_r + E_H,r   mod 2^32, for each row r
 *   answer  S·v mod 2^32, top b0 bits of each row
 *
 * M(a) is the matrix of multiplication by a, M_k its first k columns; S, E, E_H come from the key's seed
 * (key-secrets.ts). (B, H) is LWE under the secret S: pseudorandom whatever W is (docs/security.md). An answer is a
 * function of v and S alone: no randomness, no state of the client, so any replica answers, and a retry of the same bytes
 * gets the same answer. At most b0 bits a row leave for each vector, whatever is sent; the sum is complete before it is
 * rounded (docs/security.md, rule 4). The arithmetic has no branch and no index that depends on weights or secrets.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { assertInteger, assertLength } from "../base/assert.ts";
import { bytesOf, equalBytes } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import {
  type Address,
  at,
  type Kernels,
  markRandomBytes,
  NTT_POLY_BYTES,
  packedBytes,
  RING_DEGREE,
  type SmallBytes,
} from "../ring/kernels.ts";
import type { BufferPool } from "../rlwe/buffer-pool.ts";
import { assertKernelParameters, type Parameters, paddedLength, weightBlocks } from "../rlwe/parameters.ts";
import type { PublicElements } from "../rlwe/public-elements.ts";
import { type GroupMark, markOdds } from "./marks.ts";
import { streamBytes, MARKS, SecretStream } from "./secret-stream.ts";

/** Vectors that are unpacked at a time: bounds the scratch memory of a long query. */
const CHUNK_VECTORS = 64;

export interface ProviderLayerInput {
  readonly parameters: Parameters;
  readonly rows: number;
  readonly inFeatures: number;
  /** W, (rows, n), rows of norm R at most. */
  readonly weights: Int32Array;
}

/** What a client gets of a key for one group. Public: it says nothing of W to whoever has not S. */
export interface EncryptedWeights {
  /** Top weightBits bits of B, (rows, n), each row a little-endian bit stream. */
  readonly weights: Uint8Array;
  /** Top hintBits bits of H, (rows, N), likewise. */
  readonly hint: Uint8Array;
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

/** S of one key, (rows, k) i8 or i16 in kernel memory. Secret; whoever has it wipes it. */
export type LayerSecret = Address & { readonly layerSecret: true };

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

export class ProviderLayer {
  readonly rows: number;
  readonly inFeatures: number;
  /** SHA-256 of W, for {@link keySeed}. */
  readonly weightsDigest: Uint8Array;
  /** SHA-256 of a_0, for {@link keySeed}. */
  readonly elementsDigest: Uint8Array;
  /** Bytes of one packed query vector. */
  readonly queryBytes: number;
  /** Bytes of one packed reply vector. */
  readonly replyBytes: number;
  /** Bytes of S of one key. */
  readonly secretBytes: number;
  /** Bytes of B and H of one key. */
  readonly keyBytes: number;
  readonly #parameters: Parameters;
  readonly #kernels: Kernels;
  readonly #pool: BufferPool;
  readonly #elements: PublicElements;
  readonly #weights: Int32Array;
  /** Of an entry of S: where many keys are in use, to read S is what an answer waits for. */
  readonly #smallBytes: SmallBytes;
  #odds: { readonly seed: Uint8Array; readonly values: Address } | undefined;

  /** @throws RangeError on wrong lengths */
  constructor(kernels: Kernels, pool: BufferPool, elements: PublicElements, input: ProviderLayerInput) {
    const { parameters, rows, inFeatures, weights } = input;
    this.rows = assertInteger(rows, "rows", 1, 1 << 20);
    weightBlocks(inFeatures);
    this.#weights = assertLength(weights, "weights", rows * inFeatures);
    this.inFeatures = inFeatures;
    this.#parameters = assertKernelParameters(parameters);
    this.#kernels = kernels;
    this.#pool = pool;
    this.#elements = elements;
    this.weightsDigest = sha256(bytesOf(weights));
    this.elementsDigest = elements.digest;
    this.queryBytes = packedBytes(parameters.keyLength, parameters.uploadBits);
    this.replyBytes = packedBytes(rows, parameters.replyBits);
    this.#smallBytes = parameters.secretBits <= 7 ? 1 : 2;
    this.secretBytes = this.#smallBytes * rows * parameters.keyLength;
    const part = encryptedWeightBytes(parameters, rows, inFeatures);
    this.keyBytes = part.weights + part.hint;
  }

  /**
   * What a client needs of the key with this seed; the same bytes whenever and wherever it is made.
   * @param mark of W + D; a seed belongs to one mark, or to none
   * @param secret S of this seed, where the caller has it
   */
  encryptWeights(seed: Uint8Array, mark?: GroupMark, secret?: LayerSecret): EncryptedWeights {
    const encryption = this.beginEncryption(seed, mark);
    try {
      while (encryption.next(secret)) {}
      return encryption.result;
    } finally {
      encryption.end();
    }
  }

  /** The same a row at a time, so that other things can be done meanwhile. Whoever begins it ends it. */
  beginEncryption(seed: Uint8Array, mark?: GroupMark): WeightEncryption {
    const { weights: weightBytes, hint: hintBytes } = encryptedWeightBytes(
      this.#parameters,
      this.rows,
      this.inFeatures,
    );
    const result = { weights: new Uint8Array(weightBytes), hint: new Uint8Array(hintBytes) };
    const stream = this.#streamOf(seed);
    let row = 0;
    return {
      result,
      next: (secret) => {
        try {
          this.#encryptRow(row, stream, mark, secret, result);
        } finally {
          this.#kernels.wipeScratch();
        }
        return ++row < this.rows;
      },
      end: () => stream.wipe(),
    };
  }

  /** D of a mark, (rows, n): what is added to W. */
  markOf(mark: GroupMark): Int32Array {
    const n = this.inFeatures;
    const padded = paddedLength(n);
    const marks = new Int32Array(this.rows * n);
    const words = this.#pool.acquire(4 * padded);
    try {
      for (let row = 0; row < this.rows; row++) {
        this.#kernels.wipe(words, 4 * padded);
        this.#addMarks(row, mark, words, padded);
        marks.set(this.#kernels.words(words, n), row * n);
      }
    } finally {
      this.#pool.release(words, 4 * padded);
      this.#kernels.wipeScratch();
    }
    return marks;
  }

  /** Of 16 the odds that an entry's sign is plus, (rows, n). */
  oddsOf({ oddsSeed }: Pick<GroupMark, "oddsSeed">): Uint8Array {
    const n = this.inFeatures;
    const padded = paddedLength(n);
    const all = this.#kernels.bytes(this.#oddsFor(oddsSeed, padded), this.rows * padded);
    const odds = new Uint8Array(this.rows * n);
    for (let row = 0; row < this.rows; row++) odds.set(all.subarray(row * padded, row * padded + n), row * n);
    return odds;
  }

  /** S of the key with this seed. Give it back with {@link releaseSecret}. */
  deriveSecret(seed: Uint8Array): LayerSecret {
    const { keyLength } = this.#parameters;
    const secret = this.#pool.acquire(this.secretBytes);
    let stream: SecretStream | undefined;
    try {
      stream = this.#streamOf(seed);
      for (let row = 0; row < this.rows; row++)
        stream.secret(row, at(secret, this.#smallBytes * row * keyLength));
    } catch (error) {
      this.#pool.release(secret, this.secretBytes);
      throw error;
    } finally {
      stream?.wipe();
      this.#kernels.wipeScratch();
    }
    return secret as LayerSecret;
  }

  /** Wipes a secret. */
  releaseSecret(secret: LayerSecret): void {
    this.#pool.release(secret, this.secretBytes);
  }

  /**
   * @param query (vectors, queryBytes)
   * @returns (vectors, replyBytes)
   * @throws TacetError bad_query if the query is not exactly vectors·queryBytes long
   */
  answerQuery(secret: LayerSecret, query: Uint8Array, vectors: number): Uint8Array<ArrayBuffer> {
    this.checkQuery(query, vectors);
    const reply = new Uint8Array(vectors * this.replyBytes);
    for (let first = 0; first < vectors; first += CHUNK_VECTORS) {
      const count = Math.min(CHUNK_VECTORS, vectors - first);
      this.#answerChunk(
        secret,
        query.subarray(first * this.queryBytes, (first + count) * this.queryBytes),
        count,
        reply,
        first * this.replyBytes,
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

  /** W, to make the same layer elsewhere. Whoever has it has the adapter. */
  copyInput(): ProviderLayerInput {
    const { rows, inFeatures } = this;
    return { parameters: this.#parameters, rows, inFeatures, weights: this.#weights.slice() };
  }

  /** Vectors that take at most so many multiply-adds, and at least one. */
  vectorsWithin(products: number): number {
    return Math.max(1, Math.floor(products / (this.rows * this.#parameters.keyLength)));
  }

  /** words += D_row, u32[padded]. */
  #addMarks(
    row: number,
    { oddsSeed, signsSeed, amplitude }: GroupMark,
    words: Address,
    padded: number,
  ): void {
    const pool = this.#pool;
    const kernels = this.#kernels;
    const odds = this.#oddsFor(oddsSeed, padded);
    const seed = pool.acquire(32);
    const bytes = streamBytes(markRandomBytes(padded));
    const random = pool.acquire(bytes);
    try {
      kernels.bytes(seed, 32).set(signsSeed);
      kernels.expandRandom(seed, row, MARKS, random, bytes);
      kernels.addMarks(words, padded, amplitude, at(odds, row * padded), random);
    } finally {
      pool.release(random, bytes);
      pool.release(seed, 32);
    }
  }

  /** (rows, padded) u8 in kernel memory. The same for all accounts: drawn once. */
  #oddsFor(oddsSeed: Uint8Array, padded: number): Address {
    if (this.#odds && equalBytes(this.#odds.seed, oddsSeed)) return this.#odds.values;
    const kernels = this.#kernels;
    const address = this.#odds?.values ?? this.#pool.acquire(this.rows * padded);
    const seed = this.#pool.acquire(32);
    const bytes = streamBytes(padded);
    const random = this.#pool.acquire(bytes);
    try {
      kernels.bytes(seed, 32).set(oddsSeed);
      for (let row = 0; row < this.rows; row++) {
        kernels.expandRandom(seed, row, MARKS, random, bytes);
        const drawn = kernels.bytes(random, padded);
        const values = kernels.bytes(at(address, row * padded), padded);
        for (let j = 0; j < padded; j++) values[j] = markOdds(drawn[j]);
      }
    } finally {
      this.#pool.release(random, bytes);
      this.#pool.release(seed, 32);
    }
    this.#odds = { seed: oddsSeed.slice(), values: address };
    return address;
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
    const { keyLength, weightBits, hintBits } = this.#parameters;
    const n = this.inFeatures;
    const padded = paddedLength(n);
    const weightBytes = packedBytes(n, weightBits);
    const hintBytes = packedBytes(RING_DEGREE, hintBits);
    const rowBytes = this.#smallBytes * keyLength;
    const secret = pool.acquire(rowBytes);
    const words = pool.acquire(4 * Math.max(padded, RING_DEGREE));
    const packed = pool.acquire(Math.max(weightBytes, hintBytes));
    const transformed = pool.acquire(2 * NTT_POLY_BYTES);
    try {
      const small = held === undefined ? secret : at(held, row * rowBytes);
      if (held === undefined) stream.secret(row, secret);
      const factor = kernels.transformSmall(small, keyLength, transformed, this.#smallBytes);
      const weights = kernels.words(words, padded);
      weights.fill(0);
      weights.set(this.#weights.subarray(row * n, (row + 1) * n));
      if (mark) this.#addMarks(row, mark, words, padded);
      stream.addWeightErrors(row, words, padded);
      for (let block = 0; block * RING_DEGREE < n; block++) {
        const element = this.#elements.wide(1 + block, false);
        const offset = block * RING_DEGREE;
        const length = Math.min(RING_DEGREE, n - offset);
        kernels.wideProductOf(element, factor, at(words, 4 * offset), length);
      }
      kernels.packTop(words, n, weightBits, packed);
      result.weights.set(kernels.bytes(packed, weightBytes), row * weightBytes);

      kernels.wipe(words, 4 * RING_DEGREE);
      stream.addHintErrors(row, words);
      kernels.wideProductOf(this.#elements.wide(0, true), factor, words, RING_DEGREE);
      kernels.packTop(words, RING_DEGREE, hintBits, packed);
      result.hint.set(kernels.bytes(packed, hintBytes), row * hintBytes);
    } finally {
      pool.release(transformed, 2 * NTT_POLY_BYTES);
      pool.release(secret, rowBytes);
      pool.release(words, 4 * Math.max(padded, RING_DEGREE));
      pool.release(packed, Math.max(weightBytes, hintBytes));
    }
  }

  #streamOf(seed: Uint8Array): SecretStream {
    return new SecretStream(this.#kernels, this.#pool, this.#parameters, this.#smallBytes, seed);
  }

  /** @param replyAt where the chunk's reply goes: a view of so few bytes would cost more than to write them */
  #answerChunk(
    secret: LayerSecret,
    query: Uint8Array,
    vectors: number,
    reply: Uint8Array,
    replyAt: number,
  ): void {
    const kernels = this.#kernels;
    const pool = this.#pool;
    const { keyLength, uploadBits, replyBits } = this.#parameters;
    const planeBytes = 2 * vectors * keyLength;
    // One piece of memory for all: a short query spends much of its time on what is not arithmetic.
    const wordsAt = aligned(query.length);
    const loAt = wordsAt + aligned(4 * keyLength);
    const hiAt = loAt + aligned(planeBytes);
    const sumsAt = hiAt + aligned(planeBytes);
    const packedReplyAt = sumsAt + aligned(4 * vectors * this.rows);
    const bytes = packedReplyAt + aligned(this.replyBytes);
    const packed = pool.acquire(bytes);
    const words = at(packed, wordsAt);
    const lo = at(packed, loAt);
    const hi = at(packed, hiAt);
    const sums = at(packed, sumsAt);
    const packedReply = at(packed, packedReplyAt);
    try {
      kernels.bytes(packed, query.length).set(query);
      for (let t = 0; t < vectors; t++) {
        kernels.unpackTop(at(packed, t * this.queryBytes), keyLength, uploadBits, words);
        const offset = 2 * t * keyLength;
        kernels.splitWords(words, keyLength, at(lo, offset), at(hi, offset));
      }
      kernels.innerProducts({
        lo,
        hi,
        planeRows: vectors,
        small: secret,
        smallRows: this.rows,
        smallBytes: this.#smallBytes,
        length: keyLength,
        out: sums,
        outPlaneStride: this.rows,
        outSmallStride: 1,
      });
      for (let t = 0; t < vectors; t++) {
        kernels.packTop(at(sums, 4 * t * this.rows), this.rows, replyBits, packedReply);
        reply.set(kernels.bytes(packedReply, this.replyBytes), replyAt + t * this.replyBytes);
      }
    } finally {
      pool.release(packed, bytes);
    }
  }
}

/** As many bytes or a few more, so that what stands behind is aligned. */
const aligned = (bytes: number): number => Math.ceil(bytes / 16) * 16;
