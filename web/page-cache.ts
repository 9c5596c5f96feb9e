/** The cache that the page fills and its service worker reads. */
export const PAGE_CACHE = "tacet-page";

/** Whether a file's name changes with its content and nothing of a run hangs on it, as the server has it too. */
export function isFixed(url: string): boolean {
  return /\/assets\/[^?]*\.(wasm|css)$/.test(url);
}
