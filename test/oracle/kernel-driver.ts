/** A Kernels object with helpers that move arrays in and out: what the suites drive kernels with. */
import {
  type Address,
  Kernels,
  type PublicElement,
  RING_DEGREE,
  SPECTRUM_BYTES,
} from "../../src/ring/kernels.ts";

export class KernelDriver {
  readonly kernels: Kernels;

  constructor(build: "release" | "debug") {
    this.kernels = Kernels.load(build);
  }

  put(data: ArrayBufferView): Address {
    const address = this.kernels.allocate(data.byteLength);
    const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
    this.kernels.bytes(address, data.byteLength).set(bytes);
    return address;
  }

  words(address: Address, count: number): Uint32Array {
    return this.kernels.words(address, count).slice();
  }

  prepareElement(a: Uint32Array, transposed: boolean): PublicElement {
    return this.kernels.prepareElement(this.put(a), transposed, this.kernels.allocate(SPECTRUM_BYTES));
  }

  /** The first `count` coefficients of a·s. */
  multiply(a: Uint32Array, s: Int16Array, count = RING_DEGREE): Uint32Array {
    return this.addProducts([[a, s]], false, new Uint32Array(count));
  }

  /** start + the first coefficients of Σ_j a_j·small_j, or of Σ_j a_j(X^-1)·small_j. */
  addProducts(
    terms: readonly (readonly [Uint32Array, Int16Array])[],
    transposed: boolean,
    start: Uint32Array = new Uint32Array(RING_DEGREE),
  ): Uint32Array {
    const prepared = terms.map(([a, small]) => ({
      element: this.prepareElement(a, transposed),
      small: this.put(small),
      count: small.length,
    }));
    const out = this.put(start);
    this.kernels.addProducts(prepared, out, start.length);
    return this.words(out, start.length);
  }

  expand(key: Uint8Array, nonceLow: number, nonceHigh: number, bytes: number): Uint8Array {
    const out = this.kernels.allocate(bytes);
    this.kernels.expandRandom(this.put(key), nonceLow, nonceHigh, out, bytes);
    return this.kernels.bytes(out, bytes).slice();
  }

  integers8(address: Address, count: number): Int8Array {
    return Int8Array.from(this.kernels.bytes(address, count));
  }

  pack(words: Uint32Array, bits: number): Uint8Array {
    const input = this.put(words);
    const out = this.kernels.allocate(4 * words.length + 4);
    this.kernels.bytes(out, 4 * words.length + 4).fill(0xee);
    const written = this.kernels.packTop(input, words.length, bits, out);
    const all = this.kernels.bytes(out, 4 * words.length + 4).slice();
    if (all.subarray(written).some((byte) => byte !== 0xee)) throw new Error("packTop wrote past its end");
    return all.subarray(0, written);
  }

  unpack(packed: Uint8Array, count: number, bits: number): Uint32Array {
    const out = this.kernels.allocate(4 * count);
    this.kernels.unpackTop(this.put(packed), count, bits, out);
    return this.words(out, count);
  }

  /** out[s][p], row-major. */
  innerProducts(
    planes: readonly Uint32Array[],
    small: readonly (Int16Array | Int8Array)[],
    length: number,
  ): Uint32Array {
    const { kernels } = this;
    const smallBytes = small[0] instanceof Int8Array ? 1 : 2;
    const lo = kernels.allocate(2 * planes.length * length);
    const hi = kernels.allocate(2 * planes.length * length);
    for (const [p, row] of planes.entries()) {
      const offset = 2 * p * length;
      kernels.splitWords(this.put(row), length, (lo + offset) as Address, (hi + offset) as Address);
    }
    const Small = smallBytes === 1 ? Int8Array : Int16Array;
    const weights = this.put(Small.from(small.flatMap((row) => [...row])));
    const out = kernels.allocate(4 * planes.length * small.length);
    kernels.words(out, planes.length * small.length).fill(0xdeadbeef);
    kernels.innerProducts({
      lo,
      hi,
      planeRows: planes.length,
      small: weights,
      smallRows: small.length,
      smallBytes,
      length,
      out,
      outPlaneStride: 1,
      outSmallStride: planes.length,
    });
    return this.words(out, planes.length * small.length);
  }
}
