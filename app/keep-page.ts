/**
 * Keeps everything that the page is made of in the browser's cache storage, at each visit again, so that it opens when
 * nobody answers (service-worker.ts). Model files and bundles have separate caches (src/platform/web/).
 */
import { isWebFolderKept } from "../src/platform/web/files.ts";
import type { Settings } from "./messages.ts";

const CACHE = "tacet-page";
/** Its name changes with its content and nothing of a run hangs on it; the server has the same rule. */
const isFixed = (url: string): boolean => /\/assets\/[^?]*\.(wasm|css)$/.test(url);

/** @returns whether page and model are there for the next visit without network */
export async function keepPage(settings: Settings): Promise<boolean> {
  if (!("serviceWorker" in navigator) || !("caches" in globalThis)) return false;
  try {
    await navigator.serviceWorker.register("./service-worker.js");
    await navigator.serviceWorker.ready;
    const address = (path: string): string => new URL(path, document.baseURI).href;
    const all = [...settings.app, "settings.json"].map(address);
    const cache = await caches.open(CACHE);
    const kept = (await cache.keys()).map(({ url }) => url);
    // All or none of what belongs to this run: its settings, and the policy that its scripts came with.
    await cache.addAll(all.filter((url) => !(isFixed(url) && kept.includes(url))));
    await Promise.all(kept.filter((url) => !all.includes(url)).map((url) => cache.delete(url)));
    return await hasModel(settings);
  } catch {
    return false; // no room, or a browser that keeps nothing: the page works all the same
  }
}

/** The worker keeps it: where, and under which version, is the folder's matter. */
async function hasModel({ model }: Settings): Promise<boolean> {
  return await isWebFolderKept({ ...model, url: new URL("model/", document.baseURI).href });
}
