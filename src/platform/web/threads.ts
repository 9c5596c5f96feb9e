/** Threads of this package in browsers: module workers. */
import type { EncryptionPlatform, Thread } from "../../base/platform.ts";
import { openThread } from "../thread.ts";

export function webEncryption(): EncryptionPlatform {
  // In this form bundlers know it as an entry. It joins what it needs for itself: nothing here imports it.
  const start = () =>
    new Worker(new URL("../../library/web-encryption-thread.js", import.meta.url), {
      type: "module",
      name: "tacet encryption",
    });
  return { cores: navigator.hardwareConcurrency || 1, start: () => startThread(start) };
}

/** A thread that multiplies with rounded weights (products/serve-products.ts). */
export function startProductThread(): Thread {
  return startThread(
    () =>
      new Worker(new URL("./products/product-thread.js", import.meta.url), {
        type: "module",
        name: "tacet products",
      }),
  );
}

function startThread(start: () => Worker): Thread {
  return openThread(
    (thread, end) => {
      const worker = start();
      worker.onmessage = ({ data }: MessageEvent<unknown>) => thread.onMessage(data);
      worker.onmessageerror = () => end("a thread's message could not be read");
      // What it says may hold anything.
      worker.onerror = () => end("a thread's script could not be loaded, or failed");
      return worker;
    },
    // An old browser has no workers in workers; a page's policy may forbid them.
    () => "this page can't start threads",
  );
}
