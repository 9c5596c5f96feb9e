/**
 * The provider's steps of one group: make a key, answer a query under it.
 *
 *   key     B and H, W encrypted under S (weight-encryption.ts)
 *   answer  S·v mod 2^32, top b0 bits of each row
 *
 * (B, H) is LWE under the secret S: pseudorandom whatever W is (docs/security.md). An answer is a function of v and S
 * alone: no randomness, no state of the client, so any replica answers, and a retry of the same bytes gets the same
 * answer. At most b0 bits a row leave for each vector, whatever is sent; the sum is complete before it is rounded
 * (docs/security.md, rule 4). The arithmetic has no branch and no index that depends on secrets.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { assertInteger, assertLength } from "../base/assert.ts";
import { bytesOf } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import { at, type Kernels, packedBytes, type SmallBytes } from "../ring/kernels.ts";
import type { BufferPool } from "../rlwe/buffer-pool.ts";
import { assertKernelParameters, type Parameters, weightBlocks } from "../rlwe/parameters.ts";
import type { PublicElements } from "../rlwe/public-elements.ts";
import { type EncryptedWeights, encryptedWeightBytes } from "./encrypted-weights.ts";
import { LayerMarks } from "./layer-marks.ts";
import type { GroupMark } from "./marks.ts";
import { type LayerSecret, SecretStream, secretEntryBytes } from "./secret-stream.ts";
import { type ProviderLayerInput, WeightEncrypter, type WeightEncryption } from "./weight-encryption.ts";

/** Vectors that are unpacked at a time: bounds the scratch memory of a long query. */
const CHUNK_VECTORS = 64;

export class ProviderLayer {
  readonly rows: number;
  readonly inFeatures: number;
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
  readonly #weights: Int32Array;
  readonly #entryBytes: SmallBytes;
  readonly #marks: LayerMarks;
  readonly #encrypter: WeightEncrypter;
  readonly #elements: PublicElements;
  /** Found when they are asked for: threads that answer never need them. */
  #weightsDigest: Uint8Array | undefined;

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
    this.queryBytes = packedBytes(parameters.keyLength, parameters.uploadBits);
    this.replyBytes = packedBytes(rows, parameters.replyBits);
    this.#entryBytes = secretEntryBytes(parameters);
    this.secretBytes = this.#entryBytes * rows * parameters.keyLength;
    const part = encryptedWeightBytes(parameters, rows, inFeatures);
    this.keyBytes = part.weights + part.hint;
    this.#marks = new LayerMarks(kernels, pool, rows, inFeatures);
    this.#encrypter = new WeightEncrypter(kernels, pool, elements, input, this.#marks);
  }

  /** SHA-256 of W, for {@link keySeed}. */
  get weightsDigest(): Uint8Array {
    return (this.#weightsDigest ??= sha256(bytesOf(this.#weights)));
  }

  /** SHA-256 of a_0, for {@link keySeed}. */
  get elementsDigest(): Uint8Array {
    return this.#elements.digest;
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
    return this.#encrypter.begin(seed, mark);
  }

  /** D of a mark, (rows, n): what is added to W. */
  markOf(mark: GroupMark): Int32Array {
    return this.#marks.entries(mark);
  }

  /** Of 16 the odds that an entry's sign is plus, (rows, n). */
  oddsOf(mark: Pick<GroupMark, "oddsSeed">): Uint8Array {
    return this.#marks.odds(mark);
  }

  /** S of the key with this seed. Give it back with {@link releaseSecret}. */
  deriveSecret(seed: Uint8Array): LayerSecret {
    const { keyLength } = this.#parameters;
    const secret = this.#pool.acquire(this.secretBytes);
    let stream: SecretStream | undefined;
    try {
      stream = new SecretStream(this.#kernels, this.#pool, this.#parameters, seed);
      for (let row = 0; row < this.rows; row++)
        stream.secret(row, at(secret, this.#entryBytes * row * keyLength));
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
        smallBytes: this.#entryBytes,
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
