/** Reusable kernel memory: allocation in size classes (powers of two), wiped when given back. */
import type { Address, Kernels } from "../ring/kernels.ts";

const SMALLEST_CLASS = 256;

export class BufferPool {
  readonly #kernels: Kernels;
  readonly #free = new Map<number, Address[]>();

  constructor(kernels: Kernels) {
    this.#kernels = kernels;
  }

  /** At least `bytes` bytes, 16-byte aligned; zero, or what allocate gives. */
  acquire(bytes: number): Address {
    const size = sizeClass(bytes);
    return this.#free.get(size)?.pop() ?? this.#kernels.allocate(size);
  }

  /** Wipes a buffer that `acquire(bytes)` gave and takes it back. */
  release(address: Address, bytes: number): void {
    const size = sizeClass(bytes);
    this.#kernels.wipe(address, bytes);
    const list = this.#free.get(size);
    if (list === undefined) this.#free.set(size, [address]);
    else list.push(address);
  }
}

function sizeClass(bytes: number): number {
  let size = SMALLEST_CLASS;
  while (size < bytes) size *= 2;
  return size;
}
