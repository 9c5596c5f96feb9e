/** Threads of this package in Node. */
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import type { EncryptionPlatform, Thread } from "../../base/platform.ts";
import { openThread } from "../thread.ts";
import { usableProcessors } from "./cores.ts";

/** Which joins what it needs for itself, as a command does: nothing here imports it. */
const SCRIPT = new URL(`../../library/node-encryption-thread${extname(import.meta.url)}`, import.meta.url);

export function nodeEncryption(script = SCRIPT): EncryptionPlatform {
  return { cores: usableProcessors(), start: () => startThread(script, { name: "tacet encryption" }) };
}

interface ThreadOptions {
  readonly name: string;
  readonly workerData?: unknown;
  /** The process goes on while the thread does. Default: false. */
  readonly keepsProcess?: boolean;
}

export function startThread(script: URL, { name, workerData, keepsProcess = false }: ThreadOptions): Thread {
  return openThread(
    (thread, end) => {
      const worker = new Worker(script, { name, workerData });
      worker.on("message", (message: unknown) => thread.onMessage(message));
      // Its message may hold anything.
      worker.on("error", (error: NodeJS.ErrnoException) => end(`a thread failed (${nameOf(error)})`));
      worker.on("exit", (code) => end(`a thread ended with ${code}`));
      // After the listeners, which would keep the process alive.
      if (!keepsProcess) worker.unref();
      return worker;
    },
    // Node's permission model forbids them, or the system has none left.
    (error) => `this process can't start threads (${nameOf(error as NodeJS.ErrnoException)})`,
  );
}

function nameOf({ code, name }: NodeJS.ErrnoException): string {
  return [code, name].find((text) => text !== undefined && /^\w{1,40}$/.test(text)) ?? "Error";
}
