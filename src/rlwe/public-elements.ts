/**
 * The public elements of one bundle, expanded by both sides from its random id:
 *   a_i = SHAKE128("tacet/v2/public-element" ‖ bundleId ‖ LE32(i)), read as N little-endian u32 words, every word used.
 * a_0 masks queries and makes hints; a_1, a_2, … encrypt weights, a_j those of the inputs (j-1)·N to j·N - 1. All groups
 * share them: each has its own secrets, as each row has. Neither side chooses them and they are never sent
 * (docs/protocol.md §Public elements; docs/security.md, rule 8).
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { shake128 } from "@noble/hashes/sha3.js";
import { assertInteger, assertLength } from "../base/assert.ts";
import { concatBytes, utf8 } from "../base/bytes.ts";
import { type Kernels, POLY_BYTES, type PublicElement, SPECTRUM_BYTES } from "../ring/kernels.ts";
import type { BufferPool } from "./buffer-pool.ts";

const DOMAIN = utf8("tacet/v2/public-element");

/** Bytes of the random bundle id that the elements are expanded from. */
export const BUNDLE_ID_BYTES = 16;

/** The 4·N bytes of a_index: N uniform words, little-endian. */
export function publicElementBytes(bundleId: Uint8Array, index: number): Uint8Array {
  assertLength(bundleId, "bundleId", BUNDLE_ID_BYTES);
  assertInteger(index, "index", 0, 2 ** 32 - 1);
  const le32 = Uint8Array.of(index, index >>> 8, index >>> 16, index >>> 24);
  return shake128(concatBytes(DOMAIN, bundleId, le32), { dkLen: POLY_BYTES });
}

/** The elements of a bundle, prepared where they are first wanted, kept in kernel memory. */
export class PublicElements {
  readonly #kernels: Kernels;
  readonly #pool: BufferPool;
  readonly #bundleId: Uint8Array;
  readonly #elements = new Map<string, PublicElement>();
  #digest: Uint8Array | undefined;

  constructor(kernels: Kernels, pool: BufferPool, bundleId: Uint8Array) {
    this.#kernels = kernels;
    this.#pool = pool;
    this.#bundleId = bundleId;
  }

  /** SHA-256 of the bytes of a_0: what a key's seed knows of how elements are expanded from the bundle's id. */
  get digest(): Uint8Array {
    this.#digest ??= sha256(publicElementBytes(this.#bundleId, 0));
    return this.#digest.slice();
  }

  /** a_index, or its transpose. */
  element(index: number, transposed: boolean): PublicElement {
    const name = `${index}${transposed ? "ᵀ" : ""}`;
    let element = this.#elements.get(name);
    if (element === undefined) {
      element = this.#prepare(index, transposed);
      this.#elements.set(name, element);
    }
    return element;
  }

  #prepare(index: number, transposed: boolean): PublicElement {
    const out = this.#kernels.allocate(SPECTRUM_BYTES);
    const words = this.#pool.acquire(POLY_BYTES);
    try {
      this.#kernels.bytes(words, POLY_BYTES).set(publicElementBytes(this.#bundleId, index));
      return this.#kernels.prepareElement(words, transposed, out);
    } finally {
      this.#pool.release(words, POLY_BYTES);
    }
  }
}
