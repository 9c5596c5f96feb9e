/** Bundles kept in the browser's cache storage between visits, by digest. */
const CACHE = "tacet-bundles";

/** A client's BundleCache; the client checks the digest of what it gets. */
export function webBundleCache() {
  const keyOf = (digest: string): string => `/bundle-cache/${digest}`;
  return {
    async get(digest: string): Promise<Uint8Array | undefined> {
      const kept = await (await caches.open(CACHE)).match(keyOf(digest));
      return kept && new Uint8Array(await kept.arrayBuffer());
    },
    async put(digest: string, bytes: Uint8Array): Promise<void> {
      await (await caches.open(CACHE)).put(keyOf(digest), new Response(bytes as Uint8Array<ArrayBuffer>));
    },
  };
}
