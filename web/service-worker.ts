/**
 * Keeps the page itself, so that it opens without the program that serves it. Models and bundles have caches of their
 * own; settings.json and everything else is asked for first, and taken from the cache where nobody answers.
 */
const CACHE = "tacet-page";

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
  const { request, respondWith } = event as FetchEvent;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  if (/\/(model|bundle-cache)\//.test(url.pathname)) return;
  respondWith.call(event, fromNetworkOrCache(request));
});

async function fromNetworkOrCache(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(request, response.clone());
    return response;
  } catch (error) {
    const kept = await cache.match(request);
    if (kept) return kept;
    throw error;
  }
}
