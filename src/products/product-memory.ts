/** Matrices of rounded weights in WebAssembly memories, as many as they need. */
import { assertInteger } from "../base/assert.ts";
import type { RoundedShape } from "../base/platform.ts";
import { PRODUCT_KERNELS } from "./generated/product-kernels.ts";
import { RELAXED_KERNELS } from "./generated/relaxed-kernels.ts";
import { HeldMatrix, hasRoomFor, rowBytes } from "./held-matrix.ts";
import { ProductInstance } from "./product-instance.ts";

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
  #memories: ProductInstance[] = [];

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
    if (!hasRoomFor(shape)) throw new RangeError(`rows of ${shape.columns} entries are too long`);
    const sizes = [of.codes, of.scales, hasZeroPoints ? of.zeroPoints : 0].map((bytes) =>
      align(rows * bytes),
    );
    const total = sizes.reduce((sum, bytes) => sum + bytes, 0);
    let memory = this.#memories.find((each) => each.has(total));
    if (!memory) {
      memory = new ProductInstance(this.#module, (empty) => {
        this.#memories = this.#memories.filter((each) => each !== empty);
      });
      this.#memories.push(memory);
    }
    const [codes, scales, zeroPoints] = memory.allocate(sizes);
    const placed = { memory, shape, blocks, codes, scales, zeroPoints: hasZeroPoints ? zeroPoints : 0 };
    return new HeldMatrix(placed);
  }
}

function align(bytes: number): number {
  return Math.ceil(bytes / 16) * 16;
}
