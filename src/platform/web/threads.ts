/** Threads of this package in browsers: module workers. */
import type { EncryptionPlatform, Thread } from "../../base/platform.ts";

export function webEncryption(): EncryptionPlatform {
  return { cores: navigator.hardwareConcurrency || 1, start: startThread };
}

function startThread(): Thread {
  let worker: Worker | undefined;
  let isOver = false;
  const end = (reason: string) => {
    if (isOver) return;
    isOver = true;
    worker?.terminate();
    thread.onEnd(reason);
  };
  const thread: Thread = {
    onMessage: () => {},
    onEnd: () => {},
    post: (message, transfer) => worker?.postMessage(message, [...transfer]),
    end() {
      isOver = true;
      worker?.terminate();
    },
  };
  try {
    // In this form bundlers know it as an entry. It joins what it needs for itself: nothing here imports it.
    worker = new Worker(new URL("../../library/web-encryption-thread.js", import.meta.url), {
      type: "module",
      name: "tacet encryption",
    });
    worker.onmessage = ({ data }: MessageEvent<unknown>) => thread.onMessage(data);
    worker.onmessageerror = () => end("a thread's message could not be read");
    // What it says may hold anything.
    worker.onerror = () => end("a thread's script could not be loaded, or failed");
  } catch {
    // An old browser has no workers in workers; a page's policy may forbid them.
    queueMicrotask(() => end("this page can't start threads"));
  }
  return thread;
}
