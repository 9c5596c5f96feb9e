/** A thread that checks one file, and says how far it is and what it found: a script that file-check.ts starts. */
import { parentPort, workerData } from "node:worker_threads";
import { errnoOf } from "./errno.ts";
import type { FileThreadMessage } from "./file-check.ts";
import { isWholeFile } from "./whole-file.ts";

const tell = (message: FileThreadMessage): void => parentPort?.postMessage(message);

isWholeFile(workerData as string, { onProgress: (fraction) => tell({ fraction }) }).then(
  (isWhole) => tell({ isWhole }),
  (cause: unknown) => tell({ errno: errnoOf(cause) }),
);
