/** Matrices of rounded weights in WebAssembly memory, and their products with rows of float32 (kernels/products/index.ts). */
import { assertInteger } from "../base/assert.ts";
import type { RoundedShape } from "../base/platform.ts";
import { PRODUCT_KERNELS } from "./generated/product-kernels.ts";
import { RELAXED_KERNELS } from "./generated/relaxed-kernels.ts";

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

/** Where the parts of a matrix lie. */
interface Placed {
  readonly memory: OneMemory;
  readonly shape: RoundedShape;
  /** In one row. */
  readonly blocks: number;
  readonly codes: number;
  readonly scales: number;
  /** 0: none. */
  readonly zeroPoints: number;
}

/** Names what is written of a matrix. */
export type MatrixPart = "codes" | "scales" | "zeroPoints";

const PAGE = 65_536;
/** Of one memory; a larger matrix has one to itself. More are made as they are needed, so no limit of 4 GiB holds for all. */
const MEMORY_BYTES = 2 ** 30;
const MEMORY_LIMIT = 2 ** 32;
/** Vectors that are multiplied at a time, and the bytes for what is made of them, and for their results. */
const MOST_VECTORS = 64;
const X_BYTES = 4 << 20;
const Y_BYTES = 4 << 20;
/** Multiplications in one call of the kernels: tenths of a second on a slow machine. */
const MOST_WORK = 2 ** 28;
/** Unpacked rows that the kernel keeps (TILE_ROWS in kernels/products/multiply.ts), of words of 16 bits. */
const UNPACKED_ROWS = 16;

/** Bytes of each part of a row. */
export function rowBytes({ columns, bits, block }: RoundedShape): Readonly<Record<MatrixPart, number>> {
  const blocks = Math.ceil(columns / block);
  return {
    codes: (blocks * block * bits) / 8,
    scales: 4 * blocks,
    zeroPoints: Math.ceil((blocks * bits) / 8),
  };
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
}

let relaxedModule: WebAssembly.Module | undefined | null = null;

/**
 * Kernels that multiply bytes instead of words of 16 bits, where the codes have 4; undefined: the engine does not know their
 * instructions. Compiled where they are first asked for: most who import this file multiply nothing.
 */
function relaxedKernels(): WebAssembly.Module | undefined {
  if (relaxedModule === null) {
    try {
      relaxedModule = new WebAssembly.Module(bytesOf(RELAXED_KERNELS));
    } catch {
      relaxedModule = undefined;
    }
  }
  return relaxedModule;
}

export const hasRelaxedSimd = (): boolean => relaxedKernels() !== undefined;

/** All matrices of one thread. */
export class ProductMemory {
  readonly #module: WebAssembly.Module;
  #memories: OneMemory[] = [];

  /** @param relaxed whether the kernels use relaxed SIMD, where the engine has it */
  constructor(relaxed = true) {
    this.#module =
      (relaxed ? relaxedKernels() : undefined) ?? new WebAssembly.Module(bytesOf(PRODUCT_KERNELS));
  }

  /** Whether nothing is held. */
  get isEmpty(): boolean {
    return this.#memories.length === 0;
  }

  /**
   * Room for a matrix.
   * @throws RangeError where there is no more memory, or a row is too long
   */
  place(shape: RoundedShape, hasZeroPoints: boolean): HeldMatrix {
    const { rows } = shape;
    assertInteger(rows, "rows", 0, 2 ** 31);
    const of = rowBytes(shape);
    const blocks = of.scales / 4;
    if (vectorBytes(blocks, shape.block) + unpackedBytes(blocks, shape.block) > X_BYTES) {
      throw new RangeError(`rows of ${shape.columns} entries are too long`);
    }
    const sizes = [of.codes, of.scales, hasZeroPoints ? of.zeroPoints : 0].map((bytes) =>
      align(rows * bytes),
    );
    const total = sizes.reduce((sum, bytes) => sum + bytes, 0);
    let memory = this.#memories.find((each) => each.has(total));
    if (!memory) {
      memory = new OneMemory(this.#module, (empty) => {
        this.#memories = this.#memories.filter((each) => each !== empty);
      });
      this.#memories.push(memory);
    }
    const [codes, scales, zeroPoints] = memory.allocate(sizes);
    const placed = { memory, shape, blocks, codes, scales, zeroPoints: hasZeroPoints ? zeroPoints : 0 };
    return new HeldMatrix(placed);
  }
}

/** Bytes for one vector: its float32 entries, those rounded, and scales and sums of its blocks. */
function vectorBytes(blocks: number, block: number): number {
  return blocks * (6 * block + 8);
}

function unpackedBytes(blocks: number, block: number): number {
  return UNPACKED_ROWS * blocks * block * 2;
}

function align(bytes: number): number {
  return Math.ceil(bytes / 16) * 16;
}

/** An instance of the kernels: first what a product works with, then matrices. */
class OneMemory {
  readonly kernels: ProductExports;
  readonly x: number;
  readonly y: number;
  readonly #onEmpty: (memory: OneMemory) => void;
  #top: number;
  #held = 0;

  constructor(module: WebAssembly.Module, onEmpty: (memory: OneMemory) => void) {
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

/** A matrix that is held: written once, then multiplied with. */
export class HeldMatrix {
  readonly shape: RoundedShape;
  #placed: Placed | undefined;

  constructor(placed: Placed) {
    this.shape = placed.shape;
    this.#placed = placed;
  }

  /**
   * @param offset of the bytes in the part
   * @throws RangeError for bytes that are not all the part's
   */
  write(part: MatrixPart, offset: number, bytes: Uint8Array): void {
    const placed = this.#placed!;
    const size = this.shape.rows * rowBytes(this.shape)[part];
    if (part === "zeroPoints" && placed.zeroPoints === 0)
      throw new RangeError("the matrix has no zero points");
    assertInteger(offset, "offset", 0, Math.max(0, size - bytes.length));
    if (bytes.length > size) throw new RangeError(`${bytes.length} bytes for ${size} of a matrix`);
    new Uint8Array(placed.memory.kernels.memory.buffer).set(bytes, placed[part] + offset);
  }

  /**
   * y_t = W·x_t, t < tokens: row r of it at y[t·stride + first + r]. Nothing of x and y is left in the kernels' memory.
   * @param x (tokens, columns), and more
   * @param onPiece called again and again while it goes on
   * @throws RangeError where x or y is too short
   */
  multiply(
    x: Float32Array,
    tokens: number,
    y: Float32Array,
    stride: number,
    first: number,
    onPiece: () => void = () => {},
  ): void {
    const { memory, shape, blocks, codes, scales, zeroPoints } = this.#placed!;
    const { kernels } = memory;
    const { rows, columns, bits, block } = shape;
    assertInteger(tokens, "tokens", 0, Math.floor(x.length / columns));
    if (tokens > 0 && (tokens - 1) * stride + first + rows > y.length) throw new RangeError("y is too short");
    const length = blocks * block;
    const room = X_BYTES - unpackedBytes(blocks, block);
    const most = Math.min(tokens, MOST_VECTORS, Math.floor(room / vectorBytes(blocks, block)));
    const rowsAtOnce = Math.floor(Math.min(Y_BYTES / (4 * most), Math.max(1, MOST_WORK / (most * length))));
    const rounded = memory.x + 4 * most * length;
    const xScales = rounded + 2 * most * length;
    const sums = xScales + 4 * most * blocks;
    const scratch = sums + 4 * most * blocks;
    const zero = zeroPoints ? 1 : 2 ** (bits - 1);
    const of = rowBytes(shape);
    for (let token = 0; token < tokens; token += most) {
      const count = Math.min(most, tokens - token);
      const floats = new Float32Array(kernels.memory.buffer, memory.x, count * length);
      if (length === columns) floats.set(x.subarray(token * columns, (token + count) * columns));
      else {
        floats.fill(0);
        for (let i = 0; i < count; i++)
          floats.set(x.subarray((token + i) * columns, (token + i + 1) * columns), i * length);
      }
      kernels.roundRows(memory.x, count * blocks, block, bits, zero, rounded, xScales, sums);
      for (let row = 0; row < rows; row += rowsAtOnce) {
        const part = Math.min(rowsAtOnce, rows - row);
        kernels.multiply(
          bits,
          codes + row * of.codes,
          scales + row * of.scales,
          zeroPoints && zeroPoints + row * of.zeroPoints,
          part,
          blocks,
          block,
          rounded,
          xScales,
          sums,
          count,
          memory.y,
          4 * part,
          scratch,
        );
        const results = new Float32Array(kernels.memory.buffer, memory.y, count * part);
        for (let i = 0; i < count; i++)
          y.set(results.subarray(i * part, (i + 1) * part), (token + i) * stride + first + row);
        onPiece();
      }
    }
    // Of the scratch only scales and sums of vectors: what is unpacked there is weights.
    const bytes = new Uint8Array(kernels.memory.buffer);
    bytes.fill(0, memory.x, scratch + 32 * blocks);
    bytes.fill(0, memory.y, memory.y + 4 * most * Math.min(rows, rowsAtOnce));
  }

  release(): void {
    this.#placed?.memory.release();
    this.#placed = undefined;
  }
}
