/** The bundle cache of this user's account, as plain bytes. */
import type { BundleCache } from "../client/bundle-cache.ts";
import { nodeBundleCache } from "../platform/node.ts";

/** Universal code expects `slice` to copy, which it does not on the Buffers that Node reads files into. */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength);
}

export function bundleCache(): BundleCache {
  const cache = nodeBundleCache();
  return {
    put: cache.put,
    async get(digest) {
      const bytes = await cache.get(digest);
      return bytes === undefined ? undefined : plainBytes(bytes);
    },
  };
}
