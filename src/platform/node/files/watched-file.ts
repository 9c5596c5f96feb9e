/** A small file that another process replaces: read at the start and again within a second of a change. */
import { unwatchFile, watchFile } from "node:fs";
import { readFile } from "node:fs/promises";
import { errnoOf } from "./errno.ts";

const LOOK_EVERY_MS = 250;

/**
 * Looks at the file four times a second: unlike notifications that works on every file system, and for a file that
 * does not exist yet.
 *
 * @param onText called with the contents, undefined for no file; what it throws goes to onError
 * @returns a function that ends the watch
 */
export function watchTextFile(
  path: string,
  onText: (text: string | undefined) => void,
  onError: (error: unknown) => void,
): () => void {
  const look = () => {
    readFile(path, "utf8")
      .catch((error: unknown) => {
        if (errnoOf(error) === "ENOENT") return undefined;
        throw error;
      })
      .then(onText)
      .catch(onError);
  };
  watchFile(path, { interval: LOOK_EVERY_MS, persistent: false }, look);
  return () => unwatchFile(path, look);
}
