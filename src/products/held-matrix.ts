/** A matrix of rounded weights in the memory of the kernels, and its products with rows of float32. */
import { assertInteger } from "../base/assert.ts";
import type { RoundedShape } from "../base/platform.ts";
import { type ProductInstance, X_BYTES, Y_BYTES } from "./product-instance.ts";

/** Where the parts of a matrix lie. */
export interface PlacedMatrix {
  readonly memory: ProductInstance;
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

/** Vectors that are multiplied at a time. */
const MOST_VECTORS = 64;
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

/** Bytes for one vector: its float32 entries, those rounded, and scales and sums of its blocks. */
function vectorBytes(blocks: number, block: number): number {
  return blocks * (6 * block + 8);
}

function unpackedBytes(blocks: number, block: number): number {
  return UNPACKED_ROWS * blocks * block * 2;
}

/** Whether a product of one vector has room in an instance. */
export function hasRoomFor({ columns, block }: RoundedShape): boolean {
  const blocks = Math.ceil(columns / block);
  return vectorBytes(blocks, block) + unpackedBytes(blocks, block) <= X_BYTES;
}

/** A matrix that is held: written once, then multiplied with. */
export class HeldMatrix {
  readonly shape: RoundedShape;
  #placed: PlacedMatrix | undefined;

  constructor(placed: PlacedMatrix) {
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
