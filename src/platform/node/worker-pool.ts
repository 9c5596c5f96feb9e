/** Worker threads that each do one piece of work at a time; started when there is work, and again after one has died. */
import { type TransferListItem, Worker } from "node:worker_threads";

/** What a worker is made with, and what of it is handed over rather than copied. */
export interface WorkerStart {
  readonly data: unknown;
  readonly transfer: readonly TransferListItem[];
}

interface Thread {
  readonly worker: Worker;
  resolve(reply: unknown): void;
  reject(error: Error): void;
  busy: boolean;
}

export class WorkerPool {
  readonly #script: URL;
  readonly #size: number;
  readonly #start: () => WorkerStart;
  readonly #onDeath: () => void;
  readonly #threads = new Set<Thread>();
  #closed = false;

  /** @param script answers every request with one message; @param start made again for each worker */
  constructor(script: URL, size: number, start: () => WorkerStart, onDeath: () => void) {
    this.#script = script;
    this.#size = size;
    this.#start = start;
    this.#onDeath = onDeath;
  }

  /**
   * Rejects if the worker dies over it.
   *
   * @throws RangeError if all are at work
   */
  run(request: unknown, transfer: readonly TransferListItem[]): Promise<unknown> {
    const thread = [...this.#threads].find(({ busy }) => !busy) ?? this.#startOne();
    thread.busy = true;
    return new Promise((resolve, reject) => {
      thread.resolve = resolve;
      thread.reject = reject;
      thread.worker.postMessage(request, transfer);
    });
  }

  /** Says something to all workers that are there, behind what they have been given; nothing comes back. */
  tell(message: unknown): void {
    for (const { worker } of this.#threads) worker.postMessage(message);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#threads].map(({ worker }) => worker.terminate()));
  }

  #startOne(): Thread {
    if (this.#threads.size >= this.#size || this.#closed) throw new RangeError("no worker is free");
    const { data, transfer } = this.#start();
    const worker = new Worker(this.#script, { workerData: data, transferList: [...transfer] });
    worker.unref();
    const thread: Thread = { worker, busy: false, resolve: () => {}, reject: () => {} };
    this.#threads.add(thread);
    worker.on("message", (reply: unknown) => {
      thread.busy = false;
      thread.resolve(reply);
    });
    worker.on("error", () => {}); // "exit" follows; its message may hold anything
    worker.on("exit", () => {
      this.#threads.delete(thread);
      thread.reject(new Error("a worker has died"));
      if (!this.#closed) this.#onDeath();
    });
    return thread;
  }
}
