/**
 * The compute kernels: ring arithmetic modulo 2^32, sampling and inner products in WebAssembly (kernels/), over one
 * memory that this class hands out. Functions take addresses into that memory; the brands keep coefficients, spectra
 * and prepared public elements apart. No kernel branches or indexes on a key, an error or a weight.
 */
import { assertInteger } from "../base/assert.ts";
import {
  ERROR_RANDOM_BYTES,
  POLY_BYTES,
  packedBytes,
  RANDOM_CHUNK_BYTES,
  RING_DEGREE,
  SPECTRUM_BYTES,
} from "./constants.ts";
import { instantiateKernels, type KernelBuild, type KernelExports } from "./wasm-module.ts";

export * from "./constants.ts";
export type { KernelBuild } from "./wasm-module.ts";

declare const brand: unique symbol;
/** A byte offset into the kernels' memory, a multiple of 16. */
export type Address = number & { readonly [brand]: unknown };

/** An address some bytes on. */
export function at(address: Address, bytes: number): Address {
  return (address + bytes) as Address;
}

/** A public ring element, or its transpose, prepared for products. */
export type PublicElement = Address & { readonly publicElement: true };
/** Transformed small integers, for products with several elements. */
export type Spectrum = Address & { readonly spectrum: true };

/** a·small, of the first `count` coefficients of small; the others are 0. */
export interface ProductTerm {
  readonly element: PublicElement;
  /** i16[count] */
  readonly small: Address;
  /** At most N. */
  readonly count: number;
}

/** Largest size of a WebAssembly memory. */
const MEMORY_LIMIT = 2 ** 32;
const PAGE = 65536;
/** unpackTop may read this far past its input. */
const SLACK = 16;

/** Bytes of a small integer. */
export type SmallBytes = 1 | 2;

export interface InnerProducts {
  /** i16[planeRows][length], low halves, and the high halves beside them. */
  readonly lo: Address;
  readonly hi: Address;
  readonly planeRows: number;
  /** [smallRows][length], i16 or i8 */
  readonly small: Address;
  readonly smallRows: number;
  /** By default 2. */
  readonly smallBytes?: SmallBytes;
  /** Entries of a row, a multiple of 16. */
  readonly length: number;
  /** u32; strides count words. */
  readonly out: Address;
  /** To what out holds; by default out is only written. */
  readonly add?: boolean;
  readonly outPlaneStride: number;
  readonly outSmallStride: number;
}

/** Random bytes of `count` marks. */
export const markRandomBytes = (count: number): number => 16 * Math.ceil(count / 32);

export class Kernels {
  readonly #wasm: KernelExports;
  #top: number;

  private constructor(wasm: KernelExports) {
    this.#wasm = wasm;
    this.#top = wasm.staticEnd.value;
  }

  /** A new instance with its own memory. Compiling happens once per build and process. */
  static load(build: KernelBuild = "release"): Kernels {
    const wasm = instantiateKernels(build);
    if (wasm.ringDegree.value !== RING_DEGREE || wasm.spectrumBytes.value !== SPECTRUM_BYTES) {
      throw new RangeError("the compiled kernels and src/ring/constants.ts disagree; run npm run build");
    }
    return new Kernels(wasm);
  }

  /**
   * `bytes` zero bytes, aligned to 16; never freed (drop the object). Views taken before are invalid afterwards.
   * @throws RangeError when the memory cannot grow
   */
  allocate(bytes: number): Address {
    assertInteger(bytes, "bytes", 0, MEMORY_LIMIT);
    const address = this.#top;
    const top = address + Math.ceil(bytes / 16) * 16;
    const { memory } = this.#wasm;
    const held = memory.buffer.byteLength;
    if (top + SLACK > held) {
      try {
        if (top + SLACK > MEMORY_LIMIT) throw new RangeError();
        // grow by an eighth at least, so that many small buffers do not mean many grows
        const wanted = Math.min(Math.max(top + SLACK, held + held / 8), MEMORY_LIMIT);
        memory.grow(Math.ceil((wanted - held) / PAGE));
      } catch {
        throw new RangeError(
          `cannot allocate ${bytes} bytes: ${address} of the kernels' ${held} bytes are in use and the memory cannot grow`,
        );
      }
    }
    this.#top = top;
    return address as Address;
  }

  /** Views; invalid after the next allocate. */
  bytes(address: Address, length: number): Uint8Array {
    return new Uint8Array(this.#wasm.memory.buffer, address, length);
  }
  words(address: Address, count: number): Uint32Array {
    return new Uint32Array(this.#wasm.memory.buffer, address, count);
  }
  shorts(address: Address, count: number): Int16Array {
    return new Int16Array(this.#wasm.memory.buffer, address, count);
  }
  floats(address: Address, count: number): Float32Array {
    return new Float32Array(this.#wasm.memory.buffer, address, count);
  }

  doubles(address: Address, count: number): Float64Array {
    return new Float64Array(this.#wasm.memory.buffer, address, count);
  }

  wipe(address: Address, bytes: number): void {
    this.#check(address, bytes);
    this.#wasm.wipe(address, bytes);
  }

  /** A view of the kernels' own buffers that hold values derived from secrets. */
  scratch(): Uint8Array {
    const { secretStart, staticEnd } = this.#wasm;
    return this.bytes(secretStart.value as Address, staticEnd.value - secretStart.value);
  }

  /** Clears them. Call it at the end of a step that used secrets. */
  wipeScratch(): void {
    this.#wasm.wipeScratch();
  }

  /**
   * Prepares a (u32[N]) for products; with `transposed` a(X^-1), whose products are by the transpose of the matrix of
   * multiplication by a. @param out SPECTRUM_BYTES
   */
  prepareElement(words: Address, transposed: boolean, out: Address): PublicElement {
    this.#check(words, POLY_BYTES);
    this.#check(out, SPECTRUM_BYTES);
    this.#wasm.prepareElement(words, transposed ? 1 : 0, out);
    return out as PublicElement;
  }

  /**
   * out: i16[N], uniform in {-1, 0, 1}. False when the random bytes ran out: try again with fresh ones; with
   * TERNARY_RANDOM_BYTES that happens with probability below 2^-150.
   */
  sampleTernary(random: Address, randomBytes: number, out: Address): boolean {
    this.#check(random, randomBytes);
    this.#check(out, 2 * RING_DEGREE);
    return this.#wasm.sampleTernary(random, randomBytes, out) !== 0;
  }

  /**
   * out_i += coefficient i of Σ_j a_j·small_j mod 2^32, i < count. The sum is computed in floating point and rounded to
   * integers: exact where 2^-46·‖a‖₂·Σ_j ‖small_j‖₂ < 1/2 (2^-44.5 for more than 32 terms), and by estimate in all but a
   * share below 2^-100 of uniform a where Σ_j ‖small_j‖₂² ≤ 2^27 (docs/parameters.md, *Products in floating point*).
   * @param out u32[count]
   */
  addProducts(terms: readonly ProductTerm[], out: Address, count: number): void {
    assertInteger(count, "count", 0, RING_DEGREE);
    this.#check(out, 4 * count);
    for (let i = 0; i < terms.length; i++) {
      const term = terms[i];
      assertInteger(term.count, "count", 0, RING_DEGREE);
      this.#check(term.element, SPECTRUM_BYTES);
      this.#check(term.small, 2 * term.count);
      const first = i === 0 ? 1 : 0;
      if (i < terms.length - 1) this.#wasm.addToSum(term.element, term.small, term.count, first);
      else this.#wasm.finishSum(term.element, term.small, term.count, first, out, count);
    }
  }

  /** The spectrum of small integers. @param small i16[count] or i8[count], ‖small‖₂² ≤ 2^27 @param out SPECTRUM_BYTES */
  transformSmall(small: Address, count: number, out: Address, smallBytes: SmallBytes = 2): Spectrum {
    assertInteger(count, "count", 0, RING_DEGREE);
    this.#check(small, smallBytes * count);
    this.#check(out, SPECTRUM_BYTES);
    if (smallBytes === 1) this.#wasm.transformSmall8(small, count, out);
    else this.#wasm.transformSmall(small, count, out);
    return out as Spectrum;
  }

  /** As {@link addProducts}, of one term whose small integers are transformed already. @param out u32[count] */
  addProductOf(element: PublicElement, small: Spectrum, out: Address, count: number): void {
    assertInteger(count, "count", 0, RING_DEGREE);
    this.#check(element, SPECTRUM_BYTES);
    this.#check(small, SPECTRUM_BYTES);
    this.#check(out, 4 * count);
    this.#wasm.addProductOf(element, small, out, count);
  }

  /**
   * out = the first `bytes` bytes of the ChaCha20 key stream (RFC 8439): counter from 0, nonce words
   * (nonceLow, nonceHigh, 0). @param key 32 bytes @param bytes a multiple of 256, at most 2^30
   */
  expandRandom(key: Address, nonceLow: number, nonceHigh: number, out: Address, bytes: number): void {
    assertInteger(nonceLow, "nonceLow", 0, 2 ** 32 - 1);
    assertInteger(nonceHigh, "nonceHigh", 0, 2 ** 32 - 1);
    assertInteger(bytes / RANDOM_CHUNK_BYTES, "bytes / 256", 0, 2 ** 22);
    this.#check(key, 32);
    this.#check(out, bytes);
    this.#wasm.expandRandom(key, nonceLow, nonceHigh, out, bytes);
  }

  /** words_i += CBD(21). @param count a multiple of 16 @param random ERROR_RANDOM_BYTES · count */
  addErrors(words: Address, count: number, random: Address): void {
    assertInteger(count / 16, "count / 16", 0, 2 ** 24);
    this.#check(words, 4 * count);
    this.#check(random, ERROR_RANDOM_BYTES * count);
    this.#wasm.addErrors(words, count, random);
  }

  /**
   * words_i += delta if random_i < odds_i, else −delta: plus with probability odds_i/16. random_i is half a byte: of 32
   * words the first 16 take the low halves of 16 bytes, the others the high halves.
   * @param count a multiple of 16 @param odds u8[count] @param random markRandomBytes(count)
   */
  addMarks(words: Address, count: number, delta: number, odds: Address, random: Address): void {
    assertInteger(count / 16, "count / 16", 0, 2 ** 24);
    assertInteger(delta, "delta", 0, 2 ** 24);
    this.#check(words, 4 * count);
    this.#check(odds, count);
    this.#check(random, markRandomBytes(count));
    this.#wasm.addMarks(words, count, delta, odds, random);
  }

  /** words_i += uniform in [-2^(bits-1), 2^(bits-1)). @param count a multiple of 8 @param random 2·count bytes */
  addUniform(words: Address, count: number, bits: number, random: Address): void {
    assertInteger(count / 8, "count / 8", 0, 2 ** 24);
    assertInteger(bits, "bits", 1, 16);
    this.#check(words, 4 * count);
    this.#check(random, 2 * count);
    this.#wasm.addUniform(words, count, bits, random);
  }

  /**
   * out: i16[count] or i8[count], uniform in (-2^(bits-1), 2^(bits-1)].
   * @param count a multiple of 8 @param bits at most 15, or 7 @param random 2·count bytes
   */
  sampleUniform(
    random: Address,
    count: number,
    bits: number,
    out: Address,
    smallBytes: SmallBytes = 2,
  ): void {
    assertInteger(count / 8, "count / 8", 0, 2 ** 24);
    assertInteger(bits, "bits", 1, 8 * smallBytes - 1);
    this.#check(random, 2 * count);
    this.#check(out, smallBytes * count);
    if (smallBytes === 1) this.#wasm.sampleUniform8(random, count, bits, out);
    else this.#wasm.sampleUniform(random, count, bits, out);
  }

  /** Σ x_i², in f64; NaN and infinity propagate. @param x f32[n] */
  squaredNorm(x: Address, n: number): number {
    this.#check(x, 4 * n);
    return this.#wasm.squaredNorm(x, n);
  }

  /** out_i = round(scale·x_i); scale 0 gives 0 whatever x is. @param x f32[n], |scale·x_i| < 2^15 @param out i16[n] */
  scaleActivation(x: Address, n: number, scale: number, out: Address): void {
    this.#check(x, 4 * n);
    this.#check(out, 2 * n);
    this.#wasm.scaleActivation(x, n, scale, out);
  }

  /**
   * The top `bits` bits of each word, rounded, as a little-endian bit stream: value i occupies bits
   * [i·bits, (i+1)·bits). @param out packedBytes(count, bits), returned
   */
  packTop(words: Address, count: number, bits: number, out: Address): number {
    assertInteger(bits, "bits", 1, 32);
    this.#check(words, 4 * count);
    this.#check(out, packedBytes(count, bits));
    return this.#wasm.packTop(words, count, bits, out);
  }

  /** words_i = value i · 2^(32-bits). */
  unpackTop(packed: Address, count: number, bits: number, out: Address): void {
    assertInteger(bits, "bits", 1, 32);
    this.#check(packed, packedBytes(count, bits));
    this.#check(out, 4 * count);
    this.#wasm.unpackTop(packed, count, bits, out);
  }

  /**
   * y_i = scale_i·u_i·inverse, u_i = w_i − h_i mod 2^32, centred, clamped to ±largest; f64, then rounded to f32.
   * What is not finite or below smallest becomes 0.
   *
   * @param words u32[count], replaced by y f32[count] @param products h, u32[count] @param scales f64[count]
   */
  recoverRows(
    words: Address,
    products: Address,
    scales: Address,
    count: number,
    { inverse, largest, smallest }: { inverse: number; largest: number; smallest: number },
  ): void {
    this.#check(words, 4 * count);
    this.#check(products, 4 * count);
    this.#check(scales, 8 * count);
    this.#wasm.recoverRows(words, products, scales, count, inverse, largest, smallest);
  }

  /** w = lo + 2^16·hi mod 2^32, both in [-2^15, 2^15). @param lo i16[count] @param hi i16[count] */
  splitWords(words: Address, count: number, lo: Address, hi: Address): void {
    this.#check(words, 4 * count);
    this.#check(lo, 2 * count);
    this.#check(hi, 2 * count);
    this.#wasm.splitWords(words, count, lo, hi);
  }

  /** out[s·outSmallStride + p·outPlaneStride] = [out +] Σ_k small[s][k]·(lo[p][k] + 2^16·hi[p][k]) mod 2^32. */
  innerProducts(job: InnerProducts): void {
    const { planeRows, smallRows, length, outPlaneStride, outSmallStride, smallBytes = 2 } = job;
    assertInteger(length / 16, "length / 16", 0, 2 ** 26);
    assertInteger(planeRows, "planeRows", 0, 2 ** 31);
    assertInteger(smallRows, "smallRows", 0, 2 ** 31);
    if (planeRows === 0 || smallRows === 0) return;
    this.#check(job.lo, 2 * planeRows * length);
    this.#check(job.hi, 2 * planeRows * length);
    this.#check(job.small, smallBytes * smallRows * length);
    this.#check(job.out, 4 * ((planeRows - 1) * outPlaneStride + (smallRows - 1) * outSmallStride + 1));
    const multiply = smallBytes === 1 ? this.#wasm.innerProducts8 : this.#wasm.innerProducts;
    multiply(
      job.lo,
      job.hi,
      planeRows,
      job.small,
      smallRows,
      length,
      job.out,
      outPlaneStride,
      outSmallStride,
      job.add ? 1 : 0,
    );
  }

  /**
   * out[v][i] = Σ_r factors[v][r]·columns[r][i] in f32, with `add` in addition to what is there; what is not finite
   * becomes 0.
   * @param columns binary16 [length / 16][count][16], finite @param factors f32[vectors][count] @param out f32[vectors][length]
   * @param shape `length` a multiple of 16
   */
  combineColumns(
    columns: Address,
    factors: Address,
    { count, length, vectors }: { readonly count: number; readonly length: number; readonly vectors: number },
    out: Address,
    add = false,
  ): void {
    assertInteger(length / 16, "length / 16", 0, 2 ** 26);
    assertInteger(count, "count", 0, 2 ** 20);
    assertInteger(vectors, "vectors", 0, 2 ** 20);
    this.#check(columns, 2 * count * length);
    this.#check(factors, 4 * vectors * count);
    this.#check(out, 4 * vectors * length);
    this.#wasm.combineColumns(columns, count, length, factors, vectors, out, add ? -1 : 0);
  }

  /** @throws RangeError unless [address, address + bytes) was handed out by allocate */
  #check(address: number, bytes: number): void {
    if (!(bytes >= 0 && address >= this.#wasm.staticEnd.value && address + bytes <= this.#top)) {
      throw new RangeError(`[${address}, ${address} + ${bytes}) is not allocated`);
    }
  }
}
