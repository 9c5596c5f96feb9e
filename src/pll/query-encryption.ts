/**
 * The first step of a query, which needs neither a key nor what recovers its result:
 *
 *   x̂ = round(c·x),  y = Σ_j (M(a_j)ᵀ·x̂_j)[0..k),  v = (a_0·s)[0..k) + e + y mod 2^32, top uploadBits bits
 *
 * c = 2^31 / (1.05·R·‖x‖₂) for each vector. ‖x‖ = 0 and non-finite x are encrypted as zero, like anything else.
 */
import { assertLength } from "../base/assert.ts";
import {
  type Address,
  at,
  type Kernels,
  type PublicElement,
  packedBytes,
  RING_DEGREE,
} from "../ring/kernels.ts";
import type { OneTimeMasks } from "../rlwe/mask-source.ts";
import {
  assertKernelParameters,
  HEADROOM,
  type Parameters,
  paddedLength,
  weightBlocks,
} from "../rlwe/parameters.ts";
import type { PublicElements } from "../rlwe/public-elements.ts";

/** Where an encryption goes. */
export interface EncryptionTarget {
  /** v as it is sent, (vectors, queryBytes). */
  readonly bytes: Uint8Array;
  /** x̂, (vectors, n rounded up) i16. */
  readonly activations: Address;
  /** c of each vector; 0 stands for an encryption of zero. */
  readonly scales: Float64Array;
}

export class QueryEncryption {
  readonly inFeatures: number;
  /** Bytes of one packed query vector. */
  readonly queryBytes: number;
  /** n rounded up to whole vector registers: entries of x̂ in memory. */
  readonly padded: number;
  readonly #parameters: Parameters;
  readonly #kernels: Kernels;
  /** a_0. */
  readonly #maskElement: PublicElement;
  /** a_1, …, a_κ, transposed. */
  readonly #elements: readonly PublicElement[];
  /** Room for one vector: f32[n]; one packed query. */
  readonly #activation: Address;
  readonly #packedQuery: Address;

  /** @throws RangeError for parameters or a width that the kernels do not have */
  constructor(kernels: Kernels, elements: PublicElements, parameters: Parameters, inFeatures: number) {
    this.inFeatures = inFeatures;
    this.#parameters = assertKernelParameters(parameters);
    this.#kernels = kernels;
    const blocks = weightBlocks(inFeatures);
    this.#maskElement = elements.element(0, false);
    this.#elements = Array.from({ length: blocks }, (_, block) => elements.element(1 + block, true));
    this.padded = paddedLength(inFeatures);
    this.queryBytes = packedBytes(parameters.keyLength, parameters.uploadBits);
    this.#activation = kernels.allocate(4 * inFeatures);
    this.#packedQuery = kernels.allocate(this.queryBytes);
  }

  /**
   * Encrypts x under fresh masks, to which a_0·s is added here where they are without. The masks are used then.
   *
   * @param x activations (vectors, n) row-major
   * @throws RangeError on wrong lengths and on masks that were used before
   */
  encrypt(masks: OneTimeMasks, x: Float32Array, { bytes, activations, scales }: EncryptionTarget): void {
    const { vectors } = masks;
    if (masks.state !== "fresh") throw new RangeError("a mask serves one query");
    assertLength(x, "x", vectors * this.inFeatures);
    assertLength(bytes, "bytes", vectors * this.queryBytes);
    assertLength(scales, "scales", vectors);
    masks.state = "used";
    const kernels = this.#kernels;
    const { keyLength, uploadBits } = this.#parameters;
    const n = this.inFeatures;
    // Nothing here can throw, or allocate kernel memory: lengths are checked.
    const activation = kernels.floats(this.#activation, n);
    const packed = kernels.bytes(this.#packedQuery, this.queryBytes);
    for (let t = 0; t < vectors; t++) {
      activation.set(vectors === 1 ? x : x.subarray(t * n, (t + 1) * n));
      scales[t] = this.#scaleFor(kernels.squaredNorm(this.#activation, n));
      const small = at(activations, 2 * t * this.padded);
      kernels.scaleActivation(this.#activation, n, scales[t], small);
      const words = at(masks.words, 4 * t * keyLength);
      const terms = this.#elements.map((element, block) => ({
        element,
        small: at(small, 2 * block * RING_DEGREE),
        count: Math.min(RING_DEGREE, n - block * RING_DEGREE),
      }));
      if (!masks.hasProduct) {
        const secret = at(masks.secrets, 2 * t * RING_DEGREE);
        terms.push({ element: this.#maskElement, small: secret, count: RING_DEGREE });
      }
      kernels.addProducts(terms, words, keyLength);
      kernels.packTop(words, keyLength, uploadBits, this.#packedQuery);
      bytes.set(packed, t * this.queryBytes);
    }
    activation.fill(0);
    kernels.wipeScratch();
  }

  /** c for a vector with this squared norm; 0 (an encryption of zero) if x is zero or not finite. */
  #scaleFor(squaredNorm: number): number {
    const scale = 2 ** 31 / (HEADROOM * this.#parameters.rowNorm * Math.sqrt(squaredNorm));
    return scale > 0 && Number.isFinite(scale) ? scale : 0;
  }
}
