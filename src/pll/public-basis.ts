/**
 * delta = B′·y: from the rows that a reply gives to a module's output. B′ (outFeatures, rows) is public and lies in
 * kernel memory column by column, so that one pass over it is sequential.
 */
import { assertLength } from "../base/assert.ts";
import type { Address, Kernels } from "../ring/kernels.ts";
import { transpose } from "./orthogonal.ts";

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

  /** @param columns of B′, one after another: (rows, outFeatures) row-major */
  constructor(kernels: Kernels, columns: Float32Array, outFeatures: number, rows: number) {
    assertLength(columns, "columns", outFeatures * rows);
    this.outFeatures = outFeatures;
    this.rows = rows;
    this.#kernels = kernels;
    this.#length = Math.ceil(outFeatures / LANES) * LANES;
    this.#columns = kernels.allocate(4 * rows * this.#length);
    this.#factors = kernels.allocate(4 * rows);
    this.#out = kernels.allocate(4 * this.#length);
    const held = kernels.floats(this.#columns, rows * this.#length);
    for (let r = 0; r < rows; r++) {
      held.set(columns.subarray(r * outFeatures, (r + 1) * outFeatures), r * this.#length);
    }
  }

  /** @param basis B′, (outFeatures, rows) row-major */
  static ofRows(kernels: Kernels, basis: Float32Array, outFeatures: number, rows: number): PublicBasis {
    assertLength(basis, "basis", outFeatures * rows);
    return new PublicBasis(kernels, transpose(basis, outFeatures, rows), outFeatures, rows);
  }

  /** A copy of the columns, (rows, outFeatures) row-major. */
  columns(): Float32Array {
    const held = this.#kernels.floats(this.#columns, this.rows * this.#length);
    const columns = new Float32Array(this.rows * this.outFeatures);
    for (let r = 0; r < this.rows; r++) {
      const at = r * this.#length;
      columns.set(held.subarray(at, at + this.outFeatures), r * this.outFeatures);
    }
    return columns;
  }

  /**
   * Writes B′·y for one vector, with `more` B′·y + C·z, C being another basis with as many outputs; entries that are
   * not finite become 0.
   *
   * @param y (rows) @param delta out, (outFeatures)
   */
  apply(y: Float32Array, delta: Float32Array, more?: { basis: PublicBasis; y: Float32Array }): void {
    const out = this.#combine(y, this.#out, false);
    if (more) {
      if (more.basis.outFeatures !== this.outFeatures) throw new RangeError("the bases have other outputs");
      more.basis.#combine(more.y, out, true);
    }
    if (this.#delta.length === 0) this.#delta = this.#kernels.floats(out, this.outFeatures);
    delta.set(this.#delta);
  }

  #combine(y: Float32Array, out: Address, add: boolean): Address {
    if (this.#y.length === 0) this.#y = this.#kernels.floats(this.#factors, this.rows);
    this.#y.set(assertLength(y, "y", this.rows));
    this.#kernels.combineColumns(this.#columns, this.#factors, this.rows, this.#length, out, add);
    return out;
  }

  /** Forgets the last vector. */
  wipe(): void {
    if (this.#y.length === 0) this.#kernels.wipe(this.#factors, 4 * this.rows);
    else this.#y.fill(0);
    if (this.#delta.length === 0) this.#kernels.wipe(this.#out, 4 * this.#length);
    else this.#delta.fill(0);
  }
}
