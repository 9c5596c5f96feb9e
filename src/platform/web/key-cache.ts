/** Keys of private layers kept in the browser's cache storage between visits. */
import type { KeptKeyName } from "../../base/platform.ts";

const CACHE = "tacet-keys";
/** Keys that are kept, of all accounts; the oldest go. */
const MOST_KEPT = 8;

/** A client's KeyCache; the client checks what it gets. */
export function webKeyCache() {
  const pathOf = ({ account, bundle, id }: KeptKeyName): string => `/key-cache/${account}/${bundle}/${id}`;
  return {
    async list(account: string): Promise<readonly KeptKeyName[]> {
      const cache = await caches.open(CACHE);
      const found: KeptKeyName[] = [];
      for (const { url } of await cache.keys()) {
        const [bundle, id, ...rest] =
          new URL(url).pathname.split(`/key-cache/${account}/`)[1]?.split("/") ?? [];
        if (bundle && id && rest.length === 0) found.push({ account, bundle, id });
      }
      // They are in the order in which they came.
      return found.reverse();
    },
    async get(name: KeptKeyName): Promise<Uint8Array | undefined> {
      const kept = await (await caches.open(CACHE)).match(pathOf(name));
      return kept && new Uint8Array(await kept.arrayBuffer());
    },
    async put(name: KeptKeyName, bytes: Uint8Array): Promise<void> {
      const cache = await caches.open(CACHE);
      await cache.put(pathOf(name), new Response(bytes as Uint8Array<ArrayBuffer>));
      for (const old of (await cache.keys()).slice(0, -MOST_KEPT)) await cache.delete(old);
    },
    async remove(name: KeptKeyName): Promise<void> {
      await (await caches.open(CACHE)).delete(pathOf(name));
    },
  };
}
