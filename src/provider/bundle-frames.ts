/**
 * The BundlePart frames of a bundle, made once for all connections that are being sent the same part. A frame lives
 * while somebody is sent it, so many readers take little more memory than one, and nobody none.
 */
import type { Bundle } from "../bundle/bundle.ts";
import { encodeProviderFrame } from "../wire/frames.ts";
import { BUNDLE_PART_BYTES } from "../wire/limits.ts";

export class BundleFrames {
  readonly count: number;
  readonly #bytes: Uint8Array;
  readonly #frames: (WeakRef<Uint8Array> | undefined)[];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.count = Math.ceil(bytes.length / BUNDLE_PART_BYTES);
    this.#frames = new Array<undefined>(this.count).fill(undefined);
  }

  /** Part 0 … count − 1; not to be written to. */
  frame(part: number): Uint8Array {
    const made = this.#frames[part]?.deref();
    if (made !== undefined) return made;
    const offset = part * BUNDLE_PART_BYTES;
    const data = this.#bytes.subarray(offset, offset + BUNDLE_PART_BYTES);
    const last = part === this.count - 1;
    const frame = encodeProviderFrame({ case: "bundlePart", value: { offset: BigInt(offset), data, last } });
    this.#frames[part] = new WeakRef(frame);
    return frame;
  }
}

const framesOfBundle = new WeakMap<Bundle, BundleFrames>();

export function framesOf(bundle: Bundle): BundleFrames {
  let frames = framesOfBundle.get(bundle);
  if (frames === undefined) {
    frames = new BundleFrames(bundle.bytes);
    framesOfBundle.set(bundle, frames);
  }
  return frames;
}
