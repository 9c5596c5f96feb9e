/**
 * The public elements a_1 … a_κ, a_pad of one group, expanded by both sides from public data:
 * a = SHAKE128("tacet/v1/public-element" ‖ bundleId ‖ LE32(group) ‖ kind ‖ LE32(block)), read as N
 * little-endian u32 words, every word used. Neither side chooses them and they are never sent
 * (docs/protocol.md §Public elements; docs/security.md, rule 8).
 */
import { shake128 } from "@noble/hashes/sha3.js";
import { assertInteger, assertLength } from "../base/assert.ts";
import { concatBytes, utf8 } from "../base/bytes.ts";
import { type Kernels, PUBLIC_ELEMENT_BYTES, type PublicElement, RING_DEGREE } from "../ring/kernels.ts";
import type { BufferPool } from "./buffer-pool.ts";
import type { Layout } from "./parameters.ts";

const DOMAIN = utf8("tacet/v1/public-element");

/** Bytes of the random bundle id that the elements are expanded from. */
export const BUNDLE_ID_BYTES = 16;

export interface ElementId {
  readonly bundleId: Uint8Array;
  readonly group: number;
  readonly kind: "data" | "padding";
  readonly block: number;
}

/** The 4·N bytes of a public element: N uniform words, little-endian. */
export function publicElementBytes(id: ElementId): Uint8Array {
  assertLength(id.bundleId, "bundleId", BUNDLE_ID_BYTES);
  const kind = Uint8Array.of(id.kind === "data" ? 0 : 1);
  const input = concatBytes(DOMAIN, id.bundleId, le32(id.group), kind, le32(id.block));
  return shake128(input, { dkLen: 4 * RING_DEGREE });
}

/** Expands a public element into kernel memory, in NTT form. */
export function expandPublicElement(kernels: Kernels, pool: BufferPool, id: ElementId): PublicElement {
  const out = kernels.allocate(PUBLIC_ELEMENT_BYTES);
  const words = pool.acquire(4 * RING_DEGREE);
  kernels.bytes(words, 4 * RING_DEGREE).set(publicElementBytes(id));
  const element = kernels.preparePublicElement(words, out);
  pool.release(words, 4 * RING_DEGREE);
  return element;
}

/** The public elements of one group, in the order of its layout's blocks. */
export function expandLayout(
  kernels: Kernels,
  pool: BufferPool,
  layout: Layout,
  bundleId: Uint8Array,
  group: number,
): PublicElement[] {
  return layout.blocks.map((block) =>
    expandPublicElement(kernels, pool, { bundleId, group, kind: block.kind, block: block.index }),
  );
}

function le32(value: number): Uint8Array {
  assertInteger(value, "index", 0, 2 ** 32 - 1);
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}
