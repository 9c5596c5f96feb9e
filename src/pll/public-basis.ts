/**
 * delta = B′·y: from the rows that a reply gives to a module's output. B′ (outFeatures, rows) is public and lies in
 * kernel memory in the order in which it is read, in binary16: a bundle's B′ is that.
 */
import { assertInteger, assertLength } from "../base/assert.ts";
import { toFloat16, widenF16 } from "../base/float16.ts";
import type { Address, Kernels } from "../ring/kernels.ts";
import { transpose } from "./orthogonal.ts";

/** The kernel combines 16 outputs at a time. */
const LANES = 16;
/** Vectors that are computed at a time: their results stay in the processor's caches until they are copied. */
const MOST_VECTORS = 8;
const LARGEST_FLOAT16 = 65504;

/** y of several vectors as they stand in memory: each `stride` entries behind the one before it. */
export interface StridedRows {
  readonly y: Float32Array;
  readonly stride: number;
}

export class PublicBasis {
  readonly outFeatures: number;
  readonly rows: number;
  readonly #kernels: Kernels;
  readonly #columns: Address;
  /** What is held is B′ divided by this power of two; 1 where all entries are binary16 numbers. */
  readonly #scale: number;
  readonly #room: Room;
  readonly #length: number;

  /**
   * @param columns of B′, one after another: (rows, outFeatures) row-major, finite; rounded to binary16, those above its
   *   range as such a number times a power of two that all have in common
   */
  constructor(kernels: Kernels, columns: Float32Array, outFeatures: number, rows: number) {
    assertLength(columns, "columns", outFeatures * rows);
    this.outFeatures = outFeatures;
    this.rows = rows;
    this.#kernels = kernels;
    this.#length = Math.ceil(outFeatures / LANES) * LANES;
    this.#scale = scaleOf(columns);
    this.#columns = kernels.allocate(2 * rows * this.#length);
    this.#room = Room.of(kernels, rows, this.#length);
    const held = kernels.shorts(this.#columns, rows * this.#length);
    for (let r = 0; r < rows; r++) {
      const column = columns.subarray(r * outFeatures, (r + 1) * outFeatures);
      const scaled = this.#scale === 1 ? column : column.map((entry) => entry / this.#scale);
      const halves = new Int16Array(toFloat16(scaled).buffer);
      for (let i = 0; i < outFeatures; i += LANES)
        held.set(halves.subarray(i, i + LANES), this.#startOf(r, i));
    }
  }

  /** @param basis B′, (outFeatures, rows) row-major */
  static ofRows(kernels: Kernels, basis: Float32Array, outFeatures: number, rows: number): PublicBasis {
    assertLength(basis, "basis", outFeatures * rows);
    return new PublicBasis(kernels, transpose(basis, outFeatures, rows), outFeatures, rows);
  }

  /** A copy of the columns as they are held, (rows, outFeatures) row-major. */
  columns(): Float32Array {
    const held = this.#kernels.shorts(this.#columns, this.rows * this.#length);
    const columns = new Float32Array(this.rows * this.outFeatures);
    for (let r = 0; r < this.rows; r++) {
      for (let i = 0; i < this.outFeatures; i += LANES) {
        const at = this.#startOf(r, i);
        const entries = widenF16(new Uint16Array(held.slice(at, at + LANES).buffer));
        for (let k = 0; k < LANES && i + k < this.outFeatures; k++)
          columns[r * this.outFeatures + i + k] = this.#scale * entries[k];
      }
    }
    return columns;
  }

  /** Where the entries of column r from i on stand, up to the next multiple of 16. */
  #startOf(r: number, i: number): number {
    return i * this.rows + r * LANES;
  }

  /**
   * Writes B′·y for each vector, with `more` B′·y + C·z, C being another basis with as many outputs; entries that are not
   * finite become 0.
   *
   * @param rows y of all vectors; of one vector alone y (rows)
   * @param delta out, (vectors, outFeatures)
   */
  apply(
    rows: StridedRows | Float32Array,
    delta: Float32Array,
    vectors = 1,
    more?: { readonly basis: PublicBasis } & StridedRows,
  ): void {
    assertLength(delta, "delta", assertInteger(vectors, "vectors", 1, 1 << 24) * this.outFeatures);
    if (more && more.basis.outFeatures !== this.outFeatures)
      throw new RangeError("the bases have other outputs");
    const own = rows instanceof Float32Array ? { y: rows, stride: this.rows } : rows;
    for (let first = 0; first < vectors; first += MOST_VECTORS) {
      const count = Math.min(MOST_VECTORS, vectors - first);
      this.#combine(own, first, count, this.#room, false);
      if (more) more.basis.#combine(more, first, count, this.#room, true);
      this.#room.copyOut(delta, first, count, this.outFeatures);
    }
  }

  #combine({ y, stride }: StridedRows, first: number, count: number, to: Room, add: boolean): void {
    const { rows } = this;
    const factors = this.#room.factors();
    for (let v = 0; v < count; v++) {
      const at = (first + v) * stride;
      if (at + rows > y.length) throw new RangeError(`y has ${y.length} entries, too few`);
      for (let r = 0; r < rows; r++) factors[v * rows + r] = this.#scale * y[at + r];
    }
    const shape = { count: rows, length: this.#length, vectors: count };
    this.#kernels.combineColumns(this.#columns, this.#room.y, shape, to.outFor(count), add);
  }

  /** Forgets the last vectors. */
  wipe(): void {
    this.#room.wipe();
  }
}

/** Memory for the y and the results of some vectors, of all bases of a size. */
class Room {
  static readonly #made = new WeakMap<Kernels, Map<string, Room>>();
  readonly y: Address;
  readonly #out: Address;
  readonly #kernels: Kernels;
  readonly #rows: number;
  readonly #length: number;
  /** Views; empty once the kernels' memory has grown. */
  #factors: Float32Array = new Float32Array(0);
  #results: Float32Array = new Float32Array(0);
  /** Vectors since it was wiped, at most. */
  #used = 0;

  private constructor(kernels: Kernels, rows: number, length: number) {
    this.#kernels = kernels;
    this.#rows = rows;
    this.#length = length;
    this.y = kernels.allocate(4 * MOST_VECTORS * rows);
    this.#out = kernels.allocate(4 * MOST_VECTORS * length);
  }

  static of(kernels: Kernels, rows: number, length: number): Room {
    let made = Room.#made.get(kernels);
    if (!made) Room.#made.set(kernels, (made = new Map()));
    const size = `${rows} ${length}`;
    let room = made.get(size);
    if (!room) made.set(size, (room = new Room(kernels, rows, length)));
    return room;
  }

  factors(): Float32Array {
    if (this.#factors.length === 0) this.#factors = this.#kernels.floats(this.y, MOST_VECTORS * this.#rows);
    return this.#factors;
  }

  /** Where results of so many vectors go. */
  outFor(count: number): Address {
    this.#used = Math.max(this.#used, count);
    return this.#out;
  }

  /** Results of `count` vectors to their rows of delta (vectors, outFeatures), from row `first` on. */
  copyOut(delta: Float32Array, first: number, count: number, outFeatures: number): void {
    if (this.#results.length === 0)
      this.#results = this.#kernels.floats(this.#out, MOST_VECTORS * this.#length);
    for (let v = 0; v < count; v++) {
      const from = v * this.#length;
      delta.set(this.#results.subarray(from, from + outFeatures), (first + v) * outFeatures);
    }
  }

  wipe(): void {
    this.factors().fill(0);
    if (this.#results.length === 0) this.#kernels.wipe(this.#out, 4 * MOST_VECTORS * this.#length);
    else this.#results.fill(0, 0, this.#used * this.#length);
    this.#used = 0;
  }
}

/** The least power of two, from 1 on, by which all entries come into binary16's range. */
function scaleOf(entries: Float32Array): number {
  let largest = 0;
  for (const entry of entries) largest = Math.max(largest, Math.abs(entry));
  if (!Number.isFinite(largest)) throw new RangeError("a basis has finite entries");
  let scale = 1;
  while (largest / scale > LARGEST_FLOAT16) scale *= 2;
  return scale;
}
