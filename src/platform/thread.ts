/** A thread of this package, of whatever the runtime calls a worker. */
import type { Thread } from "../base/platform.ts";

interface Worker {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  terminate(): unknown;
}

/**
 * @param start makes the worker and tells `thread` of its messages; `end` is called when it is over, as often as it likes
 * @param reasonOf says why `start` has thrown: the thread then ends as soon as who asked for it can listen
 */
export function openThread(
  start: (thread: Thread, end: (reason: string) => void) => Worker,
  reasonOf: (error: unknown) => string,
): Thread {
  let worker: Worker | undefined;
  let isOver = false;
  const end = (reason: string) => {
    if (isOver) return;
    thread.end();
    thread.onEnd(reason);
  };
  const thread: Thread = {
    onMessage: () => {},
    onEnd: () => {},
    post: (message, transfer) => worker?.postMessage(message, [...transfer]),
    end() {
      isOver = true;
      void worker?.terminate();
    },
  };
  try {
    worker = start(thread, end);
  } catch (error) {
    const reason = reasonOf(error);
    queueMicrotask(() => end(reason));
  }
  return thread;
}
