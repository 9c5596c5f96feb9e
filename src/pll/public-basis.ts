/**
 * delta = B′·y: from the rows that a reply gives to a module's output. B′ (outFeatures, rows) is public and lies in
 * kernel memory column by column, so that one pass over it is sequential.
 */
import { assertLength } from "../base/assert.ts";
import type { Address, Kernels } from "../ring/kernels.ts";

/** The kernel combines 16 outputs at a time. */
const LANES = 16;

export class PublicBasis {
  readonly outFeatures: number;
  readonly rows: number;
  readonly #kernels: Kernels;
  readonly #columns: Address;
  readonly #factors: Address;
  readonly #out: Address;
  readonly #length: number;
  /** Views of #factors and #out; empty once the kernels' memory has grown. */
  #y: Float32Array = new Float32Array(0);
  #delta: Float32Array = new Float32Array(0);

  /** @param basis B′, (outFeatures, rows) row-major */
  constructor(kernels: Kernels, basis: Float32Array, outFeatures: number, rows: number) {
    assertLength(basis, "basis", outFeatures * rows);
    this.outFeatures = outFeatures;
    this.rows = rows;
    this.#kernels = kernels;
    this.#length = Math.ceil(outFeatures / LANES) * LANES;
    this.#columns = kernels.allocate(4 * rows * this.#length);
    this.#factors = kernels.allocate(4 * rows);
    this.#out = kernels.allocate(4 * this.#length);
    const columns = kernels.floats(this.#columns, rows * this.#length);
    for (let i = 0; i < outFeatures; i++) {
      for (let r = 0; r < rows; r++) columns[r * this.#length + i] = basis[i * rows + r];
    }
  }

  /**
   * Writes B′·y for one vector; entries that are not finite become 0.
   *
   * @param y (rows) @param delta out, (outFeatures)
   */
  apply(y: Float32Array, delta: Float32Array): void {
    const kernels = this.#kernels;
    if (this.#y.length === 0) {
      this.#y = kernels.floats(this.#factors, this.rows);
      this.#delta = kernels.floats(this.#out, this.outFeatures);
    }
    this.#y.set(assertLength(y, "y", this.rows));
    kernels.combineColumns(this.#columns, this.#factors, this.rows, this.#length, this.#out);
    delta.set(this.#delta);
  }

  /** Forgets the last vector. */
  wipe(): void {
    if (this.#y.length === 0) {
      this.#kernels.wipe(this.#factors, 4 * this.rows);
      this.#kernels.wipe(this.#out, 4 * this.#length);
    } else {
      this.#y.fill(0);
      this.#delta.fill(0);
    }
  }
}
