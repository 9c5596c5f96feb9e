/** A worker thread of reply-pool.ts. */
import { parentPort, workerData } from "node:worker_threads";
import type { WorkerAdapter, WorkerMessage } from "./reply-pool.ts";
import { ReplyWork } from "./reply-work.ts";

const work = new ReplyWork(workerData as readonly WorkerAdapter[]);

parentPort?.on("message", (message: WorkerMessage) => {
  if ("forget" in message) {
    work.secrets.forget(message.forget);
    return;
  }
  const [reply, transfer] = work.do(message);
  parentPort?.postMessage(reply, transfer);
});
