/** An instance of the kernels for products of rounded weights (kernels/products/index.ts), and its memory. */

interface ProductExports {
  readonly memory: WebAssembly.Memory;
  readonly heapStart: { readonly value: number };
  roundRows(
    x: number,
    blocks: number,
    block: number,
    bits: number,
    zero: number,
    out: number,
    scales: number,
    sums: number,
  ): void;
  multiply(
    bits: number,
    codes: number,
    codeScales: number,
    zeroPoints: number,
    rows: number,
    blocks: number,
    block: number,
    x: number,
    scales: number,
    sums: number,
    tokens: number,
    y: number,
    yRow: number,
    scratch: number,
  ): void;
}

const PAGE = 65_536;
/** Of one memory; a larger matrix has one to itself. More are made as they are needed, so no limit of 4 GiB holds for all. */
const MEMORY_BYTES = 2 ** 30;
const MEMORY_LIMIT = 2 ** 32;
/** For what is made of the vectors that are multiplied at a time, and for their results. */
export const X_BYTES = 4 << 20;
export const Y_BYTES = 4 << 20;

/** First what a product works with, then matrices. */
export class ProductInstance {
  readonly kernels: ProductExports;
  readonly x: number;
  readonly y: number;
  readonly #onEmpty: (instance: ProductInstance) => void;
  #top: number;
  #held = 0;

  constructor(module: WebAssembly.Module, onEmpty: (instance: ProductInstance) => void) {
    this.kernels = new WebAssembly.Instance(module).exports as unknown as ProductExports;
    this.#onEmpty = onEmpty;
    this.x = this.kernels.heapStart.value;
    this.y = this.x + X_BYTES;
    this.#top = this.y + Y_BYTES;
    this.#growTo(this.#top);
  }

  has(bytes: number): boolean {
    return this.#top + bytes <= MEMORY_BYTES;
  }

  allocate(sizes: readonly number[]): number[] {
    const before = this.#top;
    const addresses = sizes.map((bytes) => {
      const address = this.#top;
      this.#top += bytes;
      return address;
    });
    try {
      this.#growTo(this.#top);
    } catch (error) {
      this.#top = before;
      if (this.#held === 0) this.#onEmpty(this);
      throw error;
    }
    this.#held++;
    return addresses;
  }

  /** The memory goes when nothing is held in it any more. */
  release(): void {
    if (--this.#held === 0) this.#onEmpty(this);
  }

  #growTo(bytes: number): void {
    const { memory } = this.kernels;
    const more = bytes - memory.buffer.byteLength;
    if (more <= 0) return;
    if (bytes > MEMORY_LIMIT) throw new RangeError("a matrix does not fit into a memory of 4 GiB");
    memory.grow(Math.ceil(more / PAGE));
  }
}
