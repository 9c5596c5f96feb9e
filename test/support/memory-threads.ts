/** Encryption threads in this thread: what is said between them is cloned and moved, as between real ones. */
import type { EncryptionPlatform, Thread } from "../../src/base/platform.ts";
import type { Done, FromThread, ToThread } from "../../src/client/encryption/messages.ts";
import { serveEncryption } from "../../src/client/encryption/serve-encryption.ts";

export interface MemoryThread {
  /** Queries that it has made, delivered or not: copies. */
  readonly made: Done[];
  /** Jobs that it has been given. */
  jobs: number;
  /** Whether it was ended by whoever started it. */
  isEnded: boolean;
  /** What becomes of the answer to a job: it is delivered, kept back, or the thread ends before or after it. */
  onJob: (job: number) => "answer" | "silence" | "die-before" | "die-after" | "fail";
  /** Delivers what was kept back. */
  deliver(): void;
  die(reason: string): void;
}

export interface MemoryThreads extends EncryptionPlatform {
  readonly started: MemoryThread[];
  /** What becomes of an answer on its way. */
  change: (done: Done) => Done;
}

export function memoryThreads(
  cores: number,
  onJob: (job: number, thread: number) => ReturnType<MemoryThread["onJob"]> = () => "answer",
): MemoryThreads {
  const started: MemoryThread[] = [];
  const threads: MemoryThreads = {
    cores,
    started,
    change: (done) => done,
    start: () => startThread(started, onJob, (done) => threads.change(done)),
  };
  return threads;
}

function startThread(
  started: MemoryThread[],
  onJob: (job: number, thread: number) => ReturnType<MemoryThread["onJob"]>,
  change: (done: Done) => Done,
): Thread {
  const index = started.length;
  const kept: FromThread[] = [];
  let isOver = false;
  const soon = (run: () => void) => setTimeout(run, 0);
  const say = (message: FromThread) => soon(() => thread.onMessage(message));
  const die = (reason: string) => {
    if (isOver) return;
    isOver = true;
    soon(() => !memory.isEnded && thread.onEnd(reason));
  };
  const receive = serveEncryption((message, transfer) => {
    const moved = structuredClone(message, { transfer: [...transfer] });
    if (moved.type !== "done") return say(moved);
    memory.made.push(structuredClone(moved));
    const fate = memory.onJob(memory.jobs++);
    if (fate === "die-before") return die("it died");
    if (fate === "silence") return void kept.push(change(moved));
    say(fate === "fail" ? { ...moved, query: undefined } : change(moved));
    if (fate === "die-after") die("it died");
  });
  const memory: MemoryThread = {
    made: [],
    jobs: 0,
    isEnded: false,
    onJob: (job) => onJob(job, index),
    deliver: () => kept.splice(0).forEach(say),
    die,
  };
  const thread: Thread = {
    onMessage: () => {},
    onEnd: () => {},
    post(message, transfer) {
      const moved = structuredClone(message, { transfer: [...transfer] }) as ToThread;
      soon(() => !isOver && !memory.isEnded && receive(moved));
    },
    end() {
      memory.isEnded = true;
    },
  };
  started.push(memory);
  return thread;
}
