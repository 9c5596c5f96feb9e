/**
 * Opens the page where nobody answers. It only reads: what is in the cache is the page's matter (keep-page.ts). What a
 * run of `tacet web` decides (the page, its scripts with their policy, its settings) always comes from that run where
 * there is one. Imports nothing, so that it is one classic script, which every browser takes.
 */
interface FetchEvent extends Event {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}
interface ExtendableEvent extends Event {
  waitUntil(work: Promise<unknown>): void;
}
const scope = self as unknown as {
  skipWaiting(): Promise<void>;
  readonly clients: { claim(): Promise<void> };
};

self.addEventListener("install", (event) => (event as ExtendableEvent).waitUntil(scope.skipWaiting()));
self.addEventListener("activate", (event) => (event as ExtendableEvent).waitUntil(scope.clients.claim()));
self.addEventListener("fetch", (event) => {
  const { request } = event as FetchEvent;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  // They have separate caches, which are looked into before anybody is asked.
  if (/\/(model|bundle-cache)\//.test(url.pathname)) return;
  (event as FetchEvent).respondWith(fromNetworkOrCache(request));
});

async function fromNetworkOrCache(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (error) {
    const kept = await caches.match(request, { ignoreSearch: true });
    if (kept) return kept;
    throw error;
  }
}
