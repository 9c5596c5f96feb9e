/**
 * The client's steps: make a query, recover the result.
 *
 *   offline   mask = C·s + e,  h = H·s                       (one-time, independent of x)
 *   query     v = mask + round(S·[x | 0]) mod 2^32, top uploadBits bits of each word
 *   recover   u = w − h mod 2^32 (centred),  y[r] = scale[r]·u[r] / S
 *
 * S = 2^31 / (1.02·normBound·‖x‖₂) for each vector, so |W·S·x| ≤ 2^31/1.02 for every x (Cauchy–Schwarz): u never
 * wraps. S never leaves the client. ‖x‖ = 0 and non-finite x are encrypted as zero, like anything else; a result
 * never changes what is sent, or when (docs/security.md, rule 6).
 */
import { assertInteger, assertLength } from "../base/assert.ts";
import { type Address, type Kernels, type PublicElement, packedBytes, RING_DEGREE } from "../ring/kernels.ts";
import type { BufferPool } from "../rlwe/buffer-pool.ts";
import { at, type MaskSource, wordStride } from "../rlwe/mask-source.ts";
import {
  assertKernelParameters,
  HEADROOM,
  type Layout,
  layoutOf,
  type Parameters,
  replyBits,
  uploadBits,
} from "../rlwe/parameters.ts";
import { OneTimeMasks } from "./one-time-masks.ts";

/** Secrets that are held at a time while H·s is computed. */
const CHUNK_VECTORS = 64;
/**
 * Results below this become 0: denormal floats are slow on many processors, and the time that B′·y takes shall not
 * depend on y. Entries of B′ are float16, 2^-24 or more, so products stay normal (docs/security.md, rule 6).
 */
const SMALLEST_RESULT = 2 ** -100;
/** |u| is clamped here; an honest u is always inside. */
const LARGEST_RESULT = 2 ** 31 / HEADROOM;

export interface ClientLayerInput {
  readonly parameters: Parameters;
  readonly rows: number;
  readonly inFeatures: number;
  readonly elements: readonly PublicElement[];
  /** Packed hint, as setup gave it. */
  readonly hint: Uint8Array;
  /** One positive scale per row. */
  readonly scales: ArrayLike<number>;
  /** Upper bound of the row norms of W. */
  readonly normBound: number;
}

export class ClientLayer {
  readonly rows: number;
  readonly inFeatures: number;
  /** Bytes of one packed query vector. */
  readonly queryBytes: number;
  /** Bytes of one packed reply vector. */
  readonly replyBytes: number;
  readonly #kernels: Kernels;
  readonly #pool: BufferPool;
  readonly #masks: MaskSource;
  readonly #elements: readonly PublicElement[];
  readonly #layout: Layout;
  readonly #stride: number;
  readonly #uploadBits: number;
  readonly #replyBits: number;
  readonly #rowScales: Address;
  readonly #normBound: number;
  /** H as two i16 planes, (rows, N) each. */
  readonly #hintLo: Address;
  readonly #hintHi: Address;
  /** Room for one vector: f32[n]; one packed query; one packed reply; its u32[rows]. */
  readonly #activation: Address;
  readonly #packedQuery: Address;
  readonly #packedReply: Address;
  readonly #replyWords: Address;

  /** @throws RangeError on wrong lengths and on scales or bounds that are not positive and finite */
  constructor(kernels: Kernels, pool: BufferPool, masks: MaskSource, input: ClientLayerInput) {
    const { parameters, rows, inFeatures, elements, hint, normBound } = input;
    this.rows = assertInteger(rows, "rows", 1, 1 << 20);
    this.inFeatures = inFeatures;
    this.#kernels = kernels;
    this.#pool = pool;
    this.#masks = masks;
    this.#layout = layoutOf(assertKernelParameters(parameters), inFeatures);
    this.#elements = assertLength(elements, "elements", this.#layout.blocks.length);
    this.#stride = wordStride(this.#layout);
    this.#uploadBits = uploadBits(parameters);
    this.#replyBits = replyBits(parameters, inFeatures);
    this.queryBytes = packedBytes(this.#layout.words, this.#uploadBits);
    this.replyBytes = packedBytes(rows, this.#replyBits);
    const scales = Float64Array.from(assertLength(input.scales, "scales", rows));
    if (![normBound, ...scales].every((value) => value > 0 && Number.isFinite(value))) {
      throw new RangeError("scales and normBound must be positive and finite");
    }
    this.#normBound = normBound;
    this.#hintLo = kernels.allocate(2 * rows * RING_DEGREE);
    this.#hintHi = kernels.allocate(2 * rows * RING_DEGREE);
    this.#loadHint(hint, parameters.hintBits);
    this.#rowScales = kernels.allocate(8 * rows);
    kernels.doubles(this.#rowScales, rows).set(scales);
    this.#activation = kernels.allocate(4 * inFeatures);
    this.#packedQuery = kernels.allocate(this.queryBytes);
    this.#packedReply = kernels.allocate(this.replyBytes);
    this.#replyWords = kernels.allocate(4 * rows);
  }

  /** Kernel memory that the masks of one vector take, in bytes. */
  get maskBytes(): number {
    return 4 * (this.#stride + this.rows);
  }

  /** Offline: fresh secrets, their masks and their products with the hint, for one query of `vectors` vectors. */
  prepareMasks(vectors: number): OneTimeMasks {
    assertInteger(vectors, "vectors", 1, 1 << 20);
    const masks = this.#acquire(vectors);
    try {
      this.#masks.refresh();
      for (let first = 0; first < vectors; first += CHUNK_VECTORS) {
        const targets = Array.from({ length: Math.min(CHUNK_VECTORS, vectors - first) }, (_, t) => ({
          words: at(masks.words, 4 * (first + t) * this.#stride),
          hintProducts: at(masks.hintProducts, 4 * (first + t) * this.rows),
        }));
        this.#fill(targets);
      }
    } catch (error) {
      this.discard(masks);
      throw error;
    }
    return masks;
  }

  /** As {@link prepareMasks}, for `count` queries of one vector each: cheaper than one by one. */
  prepareSingles(count: number): OneTimeMasks[] {
    assertInteger(count, "count", 1, CHUNK_VECTORS);
    const singles = Array.from({ length: count }, () => this.#acquire(1));
    try {
      this.#masks.refresh();
      this.#fill(singles);
    } catch (error) {
      for (const masks of singles) this.discard(masks);
      throw error;
    }
    return singles;
  }

  #acquire(vectors: number): OneTimeMasks {
    return new OneTimeMasks(
      vectors,
      this.#pool.acquire(4 * vectors * this.#stride),
      this.#pool.acquire(4 * vectors * this.rows),
    );
  }

  /** Masks of at most CHUNK_VECTORS vectors and their products with the hint. */
  #fill(targets: readonly { words: Address; hintProducts: Address }[]): void {
    const kernels = this.#kernels;
    const count = targets.length;
    const secretBytes = 2 * count * RING_DEGREE;
    const productBytes = 4 * count * this.rows;
    const secrets = this.#pool.acquire(secretBytes);
    const products = this.#pool.acquire(productBytes);
    try {
      for (const [t, { words }] of targets.entries()) {
        this.#masks.fill(this.#layout, this.#elements, words, at(secrets, 2 * t * RING_DEGREE));
      }
      kernels.innerProducts({
        lo: this.#hintLo,
        hi: this.#hintHi,
        planeRows: this.rows,
        small: secrets,
        smallRows: count,
        length: RING_DEGREE,
        out: products,
        outPlaneStride: 1,
        outSmallStride: this.rows,
      });
      for (const [t, { hintProducts }] of targets.entries()) {
        const row = kernels.words(at(products, 4 * t * this.rows), this.rows);
        kernels.words(hintProducts, this.rows).set(row);
      }
    } finally {
      this.#pool.release(secrets, secretBytes);
      this.#pool.release(products, productBytes);
    }
  }

  /**
   * Encrypts x under fresh masks.
   *
   * @param x activations (vectors, n) row-major
   * @param query where it goes, (vectors, queryBytes)
   * @returns (vectors, queryBytes)
   * @throws RangeError on wrong lengths and on masks that were used before
   */
  makeQuery(
    masks: OneTimeMasks,
    x: Float32Array,
    query: Uint8Array = new Uint8Array(masks.vectors * this.queryBytes),
  ): Uint8Array {
    if (masks.state !== "fresh") throw new RangeError("a mask serves one query");
    assertLength(x, "x", masks.vectors * this.inFeatures);
    assertLength(query, "query", masks.vectors * this.queryBytes);
    masks.state = "sent";
    const kernels = this.#kernels;
    const n = this.inFeatures;
    // Nothing here can throw, or allocate kernel memory: lengths are checked.
    const activation = kernels.floats(this.#activation, n);
    const packed = kernels.bytes(this.#packedQuery, this.queryBytes);
    for (let t = 0; t < masks.vectors; t++) {
      const words = at(masks.words, 4 * t * this.#stride);
      activation.set(masks.vectors === 1 ? x : x.subarray(t * n, (t + 1) * n));
      masks.scales[t] = this.#scaleFor(kernels.squaredNorm(this.#activation, n));
      kernels.addScaled(words, this.#activation, n, masks.scales[t]);
      kernels.packTop(words, this.#layout.words, this.#uploadBits, this.#packedQuery);
      query.set(packed, t * this.queryBytes);
    }
    activation.fill(0);
    return query;
  }

  /**
   * Reads a reply and spends its masks.
   *
   * @param reply (vectors, replyBytes)
   * @param result where y goes, (vectors, rows)
   * @returns y ≈ W_real·x, (vectors, rows) row-major, always finite
   * @throws RangeError on wrong lengths and on masks that have no query
   */
  recoverResult(
    masks: OneTimeMasks,
    reply: Uint8Array,
    result: Float32Array = new Float32Array(masks.vectors * this.rows),
  ): Float32Array {
    if (masks.state !== "sent") throw new RangeError("these masks have no open query");
    assertLength(reply, "reply", masks.vectors * this.replyBytes);
    const kernels = this.#kernels;
    const { replyBytes, rows } = this;
    assertLength(result, "result", masks.vectors * rows);
    const packed = kernels.bytes(this.#packedReply, replyBytes);
    const y = kernels.floats(this.#replyWords, rows);
    for (let t = 0; t < masks.vectors; t++) {
      packed.set(masks.vectors === 1 ? reply : reply.subarray(t * replyBytes, (t + 1) * replyBytes));
      kernels.unpackTop(this.#packedReply, rows, this.#replyBits, this.#replyWords);
      kernels.recoverRows(this.#replyWords, at(masks.hintProducts, 4 * t * rows), this.#rowScales, rows, {
        inverse: masks.scales[t] === 0 ? 0 : 1 / masks.scales[t],
        largest: LARGEST_RESULT,
        smallest: SMALLEST_RESULT,
      });
      result.set(y, t * rows);
    }
    packed.fill(0);
    y.fill(0);
    this.discard(masks);
    return result;
  }

  /** Wipes masks that will not be used, or whose answer will not come. */
  discard(masks: OneTimeMasks): void {
    if (masks.state === "spent") return;
    masks.state = "spent";
    this.#pool.release(masks.words, 4 * masks.vectors * this.#stride);
    this.#pool.release(masks.hintProducts, 4 * masks.vectors * this.rows);
    masks.scales.fill(0);
  }

  /** S for a vector with this squared norm; 0 (an encryption of zero) if x is zero or not finite. */
  #scaleFor(squaredNorm: number): number {
    const scale = 2 ** 31 / (HEADROOM * this.#normBound * Math.sqrt(squaredNorm));
    return scale > 0 && Number.isFinite(scale) ? scale : 0;
  }

  #loadHint(hint: Uint8Array, hintBits: number): void {
    const kernels = this.#kernels;
    const rowBytes = packedBytes(RING_DEGREE, hintBits);
    assertLength(hint, "hint", this.rows * rowBytes);
    const packed = this.#pool.acquire(rowBytes);
    const words = this.#pool.acquire(4 * RING_DEGREE);
    for (let r = 0; r < this.rows; r++) {
      kernels.bytes(packed, rowBytes).set(hint.subarray(r * rowBytes, (r + 1) * rowBytes));
      kernels.unpackTop(packed, RING_DEGREE, hintBits, words);
      const offset = 2 * r * RING_DEGREE;
      kernels.splitWords(words, RING_DEGREE, at(this.#hintLo, offset), at(this.#hintHi, offset));
    }
    this.#pool.release(packed, rowBytes);
    this.#pool.release(words, 4 * RING_DEGREE);
  }
}
