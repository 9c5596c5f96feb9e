/** Checks a file beside this thread: what is made of it meanwhile keeps this one busy for seconds. */
import { extname } from "node:path";
import { TacetError } from "../../../base/errors.ts";
import type { FileCheckOptions } from "../../../base/platform.ts";
import { startThread } from "../threads.ts";
import { isWholeFile } from "./whole-file.ts";

export type FileThreadMessage =
  | { readonly fraction: number }
  | { readonly isWhole: boolean }
  | { readonly errno: string };

export const FILE_THREAD = new URL(`./whole-file-thread${extname(import.meta.url)}`, import.meta.url);

/**
 * As {@link isWholeFile}, in a thread; in this one where the process can't start any.
 * @throws an error with the code that reading failed with; TacetError aborted
 */
export async function isWholeBeside(
  path: string,
  options: FileCheckOptions = {},
  script = FILE_THREAD,
): Promise<boolean> {
  const found = await inThread(path, options, script);
  return found ?? (await isWholeFile(path, options));
}

/** undefined: the thread ended before it had an answer, or could not be started. */
function inThread(
  path: string,
  { signal, onProgress }: FileCheckOptions,
  script: URL,
): Promise<boolean | undefined> {
  return new Promise((resolve, reject) => {
    const thread = startThread(script, { name: "tacet file check", workerData: path, keepsProcess: true });
    const stop = (): void => {
      over();
      reject(new TacetError("aborted", "stopped on request"));
    };
    const over = (): void => {
      thread.end();
      signal?.removeEventListener("abort", stop);
    };
    thread.onMessage = (data) => {
      const message = data as FileThreadMessage;
      if ("fraction" in message) {
        onProgress?.(message.fraction);
        return;
      }
      over();
      if ("isWhole" in message) resolve(message.isWhole);
      else reject(Object.assign(new Error("a file cannot be read"), { code: message.errno }));
    };
    thread.onEnd = () => {
      over();
      resolve(undefined);
    };
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted) stop();
  });
}
