/**
 * Opens the page where nobody answers. It only reads: what is in the cache is the page's matter (keep-page.ts). What a
 * run of `tacet web` decides (the page, its scripts with their policy, its settings) always comes from that run where
 * there is one.
 */
import { isFixed, PAGE_CACHE } from "./page-cache.ts";

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
  // They have caches of their own, which are looked into before anybody is asked.
  if (/\/(model|bundle-cache)\//.test(url.pathname)) return;
  (event as FetchEvent).respondWith(
    isFixed(request.url) ? fromCacheFirst(request) : fromNetworkFirst(request),
  );
});

async function fromCacheFirst(request: Request): Promise<Response> {
  return (await kept(request)) ?? (await fetch(request));
}

async function fromNetworkFirst(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (error) {
    const response = await kept(request);
    if (response) return response;
    throw error;
  }
}

async function kept(request: Request): Promise<Response | undefined> {
  return await (await caches.open(PAGE_CACHE)).match(request, { ignoreSearch: true });
}
