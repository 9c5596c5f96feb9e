/** Bundles kept in the browser's cache storage between visits, by digest. */
const CACHE = "tacet-bundles";
/** Bundles that are kept. A provider that makes its bundle again, as `tacet web` does for its own, leaves the old ones. */
const MOST_KEPT = 4;

/** A client's BundleCache; the client checks the digest of what it gets. */
export function webBundleCache() {
  const keyOf = (digest: string): string => `/bundle-cache/${digest}`;
  return {
    async get(digest: string): Promise<Uint8Array | undefined> {
      const kept = await (await caches.open(CACHE)).match(keyOf(digest));
      return kept && new Uint8Array(await kept.arrayBuffer());
    },
    async put(digest: string, bytes: Uint8Array): Promise<void> {
      const cache = await caches.open(CACHE);
      await cache.put(keyOf(digest), new Response(bytes as Uint8Array<ArrayBuffer>));
      // In the order in which they came.
      for (const old of (await cache.keys()).slice(0, -MOST_KEPT)) await cache.delete(old);
    },
  };
}
