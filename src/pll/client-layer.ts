/**
 * The client's steps of one group: make a query, apply a key, recover the result.
 *
 *   query     x̂ = round(c·x), v = an encryption of it under a one-time mask (query-encryption.ts)
 *   key       B·x̂ + H·s mod 2^32, while the answer is on its way
 *   recover   u = B·x̂ + H·s − answer mod 2^32 (centred),  result[r] = scale[r]·u[r] / c
 *
 * u = W·x̂ + E·x̂ − S·e + E_H·s + roundings. c = 2^31 / (1.05·R·‖x‖₂) for each vector, so |W·x̂| ≤ 2^31/1.05 for every x
 * (Cauchy–Schwarz): u never wraps. c never leaves the client. A result never changes what is sent, or when
 * (docs/security.md, rule 6). v does not depend on the key: where one is refused, the same v may be asked under another.
 */
import { assertInteger, assertLength } from "../base/assert.ts";
import { type Address, at, type Kernels, packedBytes, RING_DEGREE } from "../ring/kernels.ts";
import type { BufferPool } from "../rlwe/buffer-pool.ts";
import { type MaskSource, type OneTimeMasks, SECRET_BYTES } from "../rlwe/mask-source.ts";
import type { Parameters } from "../rlwe/parameters.ts";
import type { PublicElements } from "../rlwe/public-elements.ts";
import { type EncryptedWeights, encryptedWeightBytes } from "./encrypted-weights.ts";
import { QueryEncryption } from "./query-encryption.ts";

/**
 * Results below this become 0: denormal floats are slow on many processors, and the time that B′·y takes shall not
 * depend on y. Entries of B′ are float16, 2^-24 or more, so products stay normal (docs/security.md, rule 6).
 */
const SMALLEST_RESULT = 2 ** -100;
/** |u| is clamped here; an honest u is always inside. */
const LARGEST_RESULT = 2 ** 31;

export interface ClientLayerInput {
  readonly parameters: Parameters;
  readonly rows: number;
  readonly inFeatures: number;
  /** One positive scale per row. */
  readonly scales: ArrayLike<number>;
}

/** B and H of one key in kernel memory, each as two i16 planes: (rows, n rounded up) and (rows, N). */
export interface ClientKey {
  readonly weightsLo: Address;
  readonly weightsHi: Address;
  readonly hintLo: Address;
  readonly hintHi: Address;
}

/** A query that has been made, until its result is there. */
export interface OpenQuery {
  readonly vectors: number;
  /** What is sent, (vectors, queryBytes). */
  readonly bytes: Uint8Array;
  /** (vectors, N) i16: s. */
  readonly secrets: Address;
  /** (vectors, n rounded up) i16: x̂. */
  readonly activations: Address;
  /** (vectors, rows) u32: B·x̂ + H·s, once a key has been applied. */
  readonly sums: Address;
  /** c of each vector; 0 stands for an encryption of zero. */
  readonly scales: Float64Array;
  state: "made" | "keyed" | "spent";
}

/** A query that was made with other kernels. */
export interface ForeignQuery {
  readonly vectors: number;
  /** (vectors, queryBytes) */
  readonly bytes: Uint8Array;
  /** s, (vectors, N) */
  readonly secrets: Int16Array;
  /** x̂, (vectors, n rounded up) */
  readonly activations: Int16Array;
  /** c of each vector */
  readonly scales: Float64Array;
  /** It is taken in once, as a mask serves once; not at all when it has been wiped. */
  state: "fresh" | "used";
}

export class ClientLayer {
  readonly rows: number;
  readonly inFeatures: number;
  /** Bytes of one packed query vector. */
  readonly queryBytes: number;
  /** Bytes of one packed reply vector. */
  readonly replyBytes: number;
  readonly #parameters: Parameters;
  readonly #kernels: Kernels;
  readonly #pool: BufferPool;
  readonly #masks: MaskSource;
  readonly #encryption: QueryEncryption;
  readonly #padded: number;
  readonly #rowScales: Address;
  /** Room for one packed reply; its u32[rows]. */
  readonly #packedReply: Address;
  readonly #replyWords: Address;

  /** @throws RangeError on wrong lengths and on scales that are not positive and finite */
  constructor(
    kernels: Kernels,
    pool: BufferPool,
    masks: MaskSource,
    elements: PublicElements,
    input: ClientLayerInput,
  ) {
    const { parameters, rows, inFeatures } = input;
    this.rows = assertInteger(rows, "rows", 1, 1 << 20);
    this.inFeatures = inFeatures;
    this.#parameters = parameters;
    this.#kernels = kernels;
    this.#pool = pool;
    this.#masks = masks;
    this.#encryption = new QueryEncryption(kernels, elements, parameters, inFeatures);
    this.#padded = this.#encryption.padded;
    this.queryBytes = this.#encryption.queryBytes;
    this.replyBytes = packedBytes(rows, parameters.replyBits);
    const scales = Float64Array.from(assertLength(input.scales, "scales", rows));
    if (!scales.every((value) => value > 0 && Number.isFinite(value))) {
      throw new RangeError("scales must be positive and finite");
    }
    this.#rowScales = kernels.allocate(8 * rows);
    kernels.doubles(this.#rowScales, rows).set(scales);
    this.#packedReply = kernels.allocate(this.replyBytes);
    this.#replyWords = kernels.allocate(4 * rows);
  }

  /** Kernel memory that a key takes, in bytes. */
  get keyBytes(): number {
    return 4 * this.rows * (this.#padded + RING_DEGREE);
  }

  /** Takes a key's bytes into kernel memory. Any bytes of the right lengths do; wrong ones give wrong results. */
  loadKey({ weights, hint }: EncryptedWeights): ClientKey {
    const { weightBits, hintBits } = this.#parameters;
    const bytes = encryptedWeightBytes(this.#parameters, this.rows, this.inFeatures);
    assertLength(weights, "weights", bytes.weights);
    assertLength(hint, "hint", bytes.hint);
    const [weightsLo, weightsHi] = this.#loadPlanes(weights, this.inFeatures, this.#padded, weightBits);
    try {
      const [hintLo, hintHi] = this.#loadPlanes(hint, RING_DEGREE, RING_DEGREE, hintBits);
      return { weightsLo, weightsHi, hintLo, hintHi };
    } catch (error) {
      for (const plane of [weightsLo, weightsHi]) this.#pool.release(plane, 2 * this.rows * this.#padded);
      throw error;
    }
  }

  /** Gives a key's memory back. */
  releaseKey({ weightsLo, weightsHi, hintLo, hintHi }: ClientKey): void {
    for (const plane of [weightsLo, weightsHi]) this.#pool.release(plane, 2 * this.rows * this.#padded);
    for (const plane of [hintLo, hintHi]) this.#pool.release(plane, 2 * this.rows * RING_DEGREE);
  }

  /**
   * Encrypts x under fresh masks, to which a_0·s is added here where they are without.
   *
   * @param x activations (vectors, n) row-major
   * @param bytes where the query goes, (vectors, queryBytes)
   * @throws RangeError on wrong lengths and on masks that were used before
   */
  makeQuery(
    masks: OneTimeMasks,
    x: Float32Array,
    bytes: Uint8Array = new Uint8Array(masks.vectors * this.queryBytes),
  ): OpenQuery {
    const { vectors } = masks;
    const room = this.#roomFor(vectors);
    const scales = new Float64Array(vectors);
    try {
      this.#encryption.encrypt(masks, x, { bytes, activations: room.activations, scales });
    } catch (error) {
      this.#releaseRoom(vectors, room);
      throw error;
    }
    return { vectors, bytes, secrets: this.#masks.takeSecrets(masks), ...room, scales, state: "made" };
  }

  /**
   * Takes in a copy of a query that was made with other kernels, for the same parameters and width (query-maker.ts).
   * It is used then.
   *
   * @throws RangeError on wrong lengths and on a query that was used before
   */
  takeIn(made: ForeignQuery): OpenQuery {
    const { vectors, bytes, secrets, activations, scales } = made;
    if (made.state !== "fresh") throw new RangeError("this query was taken in before, or is gone");
    assertInteger(vectors, "vectors", 1, 1 << 20);
    assertLength(bytes, "bytes", vectors * this.queryBytes);
    assertLength(secrets, "secrets", vectors * RING_DEGREE);
    assertLength(activations, "activations", vectors * this.#padded);
    assertLength(scales, "scales", vectors);
    made.state = "used";
    const kernels = this.#kernels;
    const room = this.#roomFor(vectors);
    let held: Address;
    try {
      held = this.#pool.acquire(vectors * SECRET_BYTES);
    } catch (error) {
      this.#releaseRoom(vectors, room);
      throw error;
    }
    kernels.shorts(held, secrets.length).set(secrets);
    kernels.shorts(room.activations, activations.length).set(activations);
    return { vectors, bytes, secrets: held, ...room, scales: scales.slice(), state: "made" };
  }

  #roomFor(vectors: number): Pick<OpenQuery, "activations" | "sums"> {
    const activationBytes = 2 * vectors * this.#padded;
    const activations = this.#pool.acquire(activationBytes);
    try {
      return { activations, sums: this.#pool.acquire(4 * vectors * this.rows) };
    } catch (error) {
      this.#pool.release(activations, activationBytes);
      throw error;
    }
  }

  #releaseRoom(vectors: number, { activations, sums }: Pick<OpenQuery, "activations" | "sums">): void {
    this.#pool.release(activations, 2 * vectors * this.#padded);
    this.#pool.release(sums, 4 * vectors * this.rows);
  }

  /** Computes what the recovery needs beside the answer. A query may be given another key as long as it is open. */
  applyKey(query: OpenQuery, key: ClientKey): void {
    if (query.state === "spent") throw new RangeError("this query is closed");
    const { vectors, sums } = query;
    const { rows } = this;
    // Written out twice: spreading a shared part costs more than the products of a token.
    this.#kernels.innerProducts({
      lo: key.weightsLo,
      hi: key.weightsHi,
      planeRows: rows,
      small: query.activations,
      smallRows: vectors,
      length: this.#padded,
      out: sums,
      outPlaneStride: 1,
      outSmallStride: rows,
    });
    this.#kernels.innerProducts({
      lo: key.hintLo,
      hi: key.hintHi,
      planeRows: rows,
      small: query.secrets,
      smallRows: vectors,
      length: RING_DEGREE,
      out: sums,
      add: true,
      outPlaneStride: 1,
      outSmallStride: rows,
    });
    query.state = "keyed";
  }

  /**
   * Reads a reply and closes its query.
   *
   * @param reply (vectors, replyBytes)
   * @param result where y goes, (vectors, rows)
   * @returns y ≈ W_real·x, (vectors, rows) row-major, always finite
   * @throws RangeError on wrong lengths and on a query that has no key
   */
  recoverResult(
    query: OpenQuery,
    reply: Uint8Array,
    result: Float32Array = new Float32Array(query.vectors * this.rows),
  ): Float32Array {
    const { vectors } = query;
    if (query.state !== "keyed") throw new RangeError("this query has no key, or is closed");
    assertLength(reply, "reply", vectors * this.replyBytes);
    const kernels = this.#kernels;
    const { replyBytes, rows } = this;
    assertLength(result, "result", vectors * rows);
    const packed = kernels.bytes(this.#packedReply, replyBytes);
    const y = kernels.floats(this.#replyWords, rows);
    for (let t = 0; t < vectors; t++) {
      packed.set(vectors === 1 ? reply : reply.subarray(t * replyBytes, (t + 1) * replyBytes));
      kernels.unpackTop(this.#packedReply, rows, this.#parameters.replyBits, this.#replyWords);
      // The kernel takes the difference the other way round.
      kernels.recoverRows(this.#replyWords, at(query.sums, 4 * t * rows), this.#rowScales, rows, {
        inverse: query.scales[t] === 0 ? 0 : -1 / query.scales[t],
        largest: LARGEST_RESULT,
        smallest: SMALLEST_RESULT,
      });
      result.set(y, t * rows);
    }
    packed.fill(0);
    y.fill(0);
    this.discard(query);
    return result;
  }

  /** Wipes a query that is answered, or whose answer will not come. A second call changes nothing. */
  discard(query: OpenQuery): void {
    if (query.state === "spent") return;
    query.state = "spent";
    this.#releaseRoom(query.vectors, query);
    this.#pool.release(query.secrets, query.vectors * SECRET_BYTES);
    query.scales.fill(0);
  }

  /** (rows, count) packed words → two i16 planes (rows, stride), zeros behind each row. */
  #loadPlanes(packed: Uint8Array, count: number, stride: number, bits: number): [Address, Address] {
    const kernels = this.#kernels;
    const pool = this.#pool;
    const rowBytes = packedBytes(count, bits);
    const planeBytes = 2 * this.rows * stride;
    const [lo, hi] = [pool.acquire(planeBytes), pool.acquire(planeBytes)];
    const row = pool.acquire(rowBytes);
    const words = pool.acquire(4 * stride);
    try {
      for (let r = 0; r < this.rows; r++) {
        kernels.bytes(row, rowBytes).set(packed.subarray(r * rowBytes, (r + 1) * rowBytes));
        kernels.unpackTop(row, count, bits, words);
        const offset = 2 * r * stride;
        kernels.splitWords(words, stride, at(lo, offset), at(hi, offset));
      }
    } catch (error) {
      for (const plane of [lo, hi]) pool.release(plane, planeBytes);
      throw error;
    } finally {
      pool.release(row, rowBytes);
      pool.release(words, 4 * stride);
    }
    return [lo, hi];
  }
}
