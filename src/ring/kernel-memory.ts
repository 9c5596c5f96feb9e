/** The kernels' memory: handed out, viewed, wiped, and no address taken that was not handed out. */
import { assertInteger } from "../base/assert.ts";
import type { KernelExports } from "./wasm-module.ts";

declare const brand: unique symbol;
/** A byte offset into the kernels' memory, a multiple of 16. */
export type Address = number & { readonly [brand]: unknown };

/** An address some bytes on. */
export function at(address: Address, bytes: number): Address {
  return (address + bytes) as Address;
}

/** Largest size of a WebAssembly memory. */
const MEMORY_LIMIT = 2 ** 32;
const PAGE = 65536;
/** unpackTop may read this far past its input. */
const SLACK = 16;

/** Kernels (kernels.ts) are one, with what computes in it. */
export class KernelMemory {
  readonly #wasm: KernelExports;
  #top: number;

  protected constructor(wasm: KernelExports) {
    this.#wasm = wasm;
    this.#top = wasm.staticEnd.value;
  }

  /**
   * `bytes` zero bytes, aligned to 16; never freed (drop the object). Views taken before are invalid afterwards.
   * @throws RangeError when the memory cannot grow
   */
  allocate(bytes: number): Address {
    assertInteger(bytes, "bytes", 0, MEMORY_LIMIT);
    const address = this.#top;
    const top = address + Math.ceil(bytes / 16) * 16;
    const { memory } = this.#wasm;
    const held = memory.buffer.byteLength;
    if (top + SLACK > held) {
      try {
        if (top + SLACK > MEMORY_LIMIT) throw new RangeError();
        // grow by an eighth at least, so that many small buffers do not mean many grows
        const wanted = Math.min(Math.max(top + SLACK, held + held / 8), MEMORY_LIMIT);
        memory.grow(Math.ceil((wanted - held) / PAGE));
      } catch {
        throw new RangeError(
          `cannot allocate ${bytes} bytes: ${address} of the kernels' ${held} bytes are in use and the memory cannot grow`,
        );
      }
    }
    this.#top = top;
    return address as Address;
  }

  /** Views; invalid after the next allocate. */
  bytes(address: Address, length: number): Uint8Array {
    return new Uint8Array(this.#wasm.memory.buffer, address, length);
  }
  words(address: Address, count: number): Uint32Array {
    return new Uint32Array(this.#wasm.memory.buffer, address, count);
  }
  shorts(address: Address, count: number): Int16Array {
    return new Int16Array(this.#wasm.memory.buffer, address, count);
  }
  floats(address: Address, count: number): Float32Array {
    return new Float32Array(this.#wasm.memory.buffer, address, count);
  }

  doubles(address: Address, count: number): Float64Array {
    return new Float64Array(this.#wasm.memory.buffer, address, count);
  }

  wipe(address: Address, bytes: number): void {
    this.check(address, bytes);
    this.#wasm.wipe(address, bytes);
  }

  /** A view of the kernels' own buffers that hold values derived from secrets. */
  scratch(): Uint8Array {
    const { secretStart, staticEnd } = this.#wasm;
    return this.bytes(secretStart.value as Address, staticEnd.value - secretStart.value);
  }

  /** Clears them. Call it at the end of a step that used secrets. */
  wipeScratch(): void {
    this.#wasm.wipeScratch();
  }

  /** @throws RangeError unless [address, address + bytes) was handed out by allocate */
  protected check(address: number, bytes: number): void {
    if (!(bytes >= 0 && address >= this.#wasm.staticEnd.value && address + bytes <= this.#top)) {
      throw new RangeError(`[${address}, ${address} + ${bytes}) is not allocated`);
    }
  }
}
