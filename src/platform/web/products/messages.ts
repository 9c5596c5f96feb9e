/**
 * What the thread that runs a model and a thread that helps it with products share: messages while matrices are brought,
 * and a piece of memory while products are computed.
 *
 *   i32[16]: words of {@link WORD}; then x, f32; then y, f32
 */
import type { RoundedShape } from "../../../base/platform.ts";
import type { MatrixPart } from "../../../products/held-matrix.ts";

/** Every one is answered, in order, but `listen`. */
export type ToProductThread =
  | { readonly kind: "begin"; readonly shared: SharedArrayBuffer }
  /** Rows [first, first + shape.rows) of a matrix. */
  | {
      readonly kind: "place";
      readonly id: number;
      readonly shape: RoundedShape;
      readonly hasZeroPoints: boolean;
      readonly first: number;
    }
  | {
      readonly kind: "write";
      readonly id: number;
      readonly part: MatrixPart;
      readonly offset: number;
      readonly bytes: Uint8Array;
    }
  | { readonly kind: "release"; readonly id: number }
  /** From here on for orders in the shared memory, whose counts are these now. */
  | { readonly kind: "listen"; readonly orders: number; readonly leaves: number };

/** The reason names no data. */
export interface FromProductThread {
  readonly failed?: string;
}

/** Words of the shared memory. */
export const WORD = {
  /** The last order: {@link orderFor}, or one to leave. */
  orders: 0,
  /** Vectors in x. */
  tokens: 2,
  /** Entries of a vector of y. */
  rows: 4,
  /** Threads that are through with it. */
  done: 5,
  /** Orders to listen no more, and take messages. */
  leaves: 6,
  /** Not 0: a thread could not do its share of the product. */
  failed: 7,
  /** Grows while a thread computes: one that has ended says nothing. */
  pieces: 8,
} as const;

/** Differs from the order before it, and names its matrix: a thread that comes late can't take it for another's. */
export function orderFor(matrix: number, before: number): number {
  return (matrix << 8) | ((before + 1) & 0xff);
}

export function matrixOf(order: number): number {
  return order >>> 8;
}

const HEADER_BYTES = 64;
const X_BYTES = 4 << 20;
const Y_BYTES = 8 << 20;

/** The parts of the shared memory. */
export class SharedWork {
  readonly memory: SharedArrayBuffer;
  readonly words: Int32Array;
  readonly x: Float32Array;
  readonly y: Float32Array;

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    this.words = new Int32Array(memory, 0, HEADER_BYTES / 4);
    this.x = new Float32Array(memory, HEADER_BYTES, X_BYTES / 4);
    this.y = new Float32Array(memory, HEADER_BYTES + X_BYTES, Y_BYTES / 4);
  }

  static make(): SharedWork {
    return new SharedWork(new SharedArrayBuffer(HEADER_BYTES + X_BYTES + Y_BYTES));
  }

  /** Leaves nothing of so many entries of x and y. */
  wipe(xEntries: number, yEntries: number): void {
    this.x.fill(0, 0, xEntries);
    this.y.fill(0, 0, yEntries);
  }

  /** Vectors that x and y have room for. */
  vectors({ rows, columns }: Pick<RoundedShape, "rows" | "columns">): number {
    return Math.floor(Math.min(this.x.length / columns, this.y.length / rows));
  }
}
