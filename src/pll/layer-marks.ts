/** D of one group, (rows, n): the entries of a mark (marks.ts), drawn in kernel memory. Secret. */
import { equalBytes } from "../base/bytes.ts";
import { type Address, at, type Kernels, markRandomBytes } from "../ring/kernels.ts";
import type { BufferPool } from "../rlwe/buffer-pool.ts";
import { paddedLength } from "../rlwe/parameters.ts";
import { type GroupMark, markOdds } from "./marks.ts";
import { MARKS, streamBytes } from "./secret-stream.ts";

export class LayerMarks {
  readonly #kernels: Kernels;
  readonly #pool: BufferPool;
  readonly #rows: number;
  readonly #inFeatures: number;
  readonly #padded: number;
  #odds: { readonly seed: Uint8Array; readonly values: Address } | undefined;

  constructor(kernels: Kernels, pool: BufferPool, rows: number, inFeatures: number) {
    this.#kernels = kernels;
    this.#pool = pool;
    this.#rows = rows;
    this.#inFeatures = inFeatures;
    this.#padded = paddedLength(inFeatures);
  }

  /** words += D_row, u32[n rounded up]. The caller wipes the kernels' scratch. */
  add(row: number, { oddsSeed, signsSeed, amplitude }: GroupMark, words: Address): void {
    const pool = this.#pool;
    const kernels = this.#kernels;
    const padded = this.#padded;
    const odds = this.#oddsFor(oddsSeed);
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

  /** D, (rows, n). */
  entries(mark: GroupMark): Int32Array {
    const n = this.#inFeatures;
    const bytes = 4 * this.#padded;
    const marks = new Int32Array(this.#rows * n);
    const words = this.#pool.acquire(bytes);
    try {
      for (let row = 0; row < this.#rows; row++) {
        this.#kernels.wipe(words, bytes);
        this.add(row, mark, words);
        marks.set(this.#kernels.words(words, n), row * n);
      }
    } finally {
      this.#pool.release(words, bytes);
      this.#kernels.wipeScratch();
    }
    return marks;
  }

  /** Of 16 the odds that an entry's sign is plus, (rows, n). */
  odds({ oddsSeed }: Pick<GroupMark, "oddsSeed">): Uint8Array {
    const n = this.#inFeatures;
    const padded = this.#padded;
    const all = this.#kernels.bytes(this.#oddsFor(oddsSeed), this.#rows * padded);
    const odds = new Uint8Array(this.#rows * n);
    for (let row = 0; row < this.#rows; row++)
      odds.set(all.subarray(row * padded, row * padded + n), row * n);
    return odds;
  }

  /** (rows, n rounded up) u8 in kernel memory. The same for all accounts: drawn once. */
  #oddsFor(oddsSeed: Uint8Array): Address {
    if (this.#odds && equalBytes(this.#odds.seed, oddsSeed)) return this.#odds.values;
    const kernels = this.#kernels;
    const padded = this.#padded;
    const address = this.#odds?.values ?? this.#pool.acquire(this.#rows * padded);
    const seed = this.#pool.acquire(32);
    const bytes = streamBytes(padded);
    const random = this.#pool.acquire(bytes);
    try {
      kernels.bytes(seed, 32).set(oddsSeed);
      for (let row = 0; row < this.#rows; row++) {
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
}
