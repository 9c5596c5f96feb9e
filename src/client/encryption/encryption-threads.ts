/**
 * Threads beside the client's that encrypt parts of prompts. x goes there, and the finished query comes back with what
 * recovers its result; keys, results and the connection stay here. A thread draws the masks of its queries itself, from
 * a separate mask key.
 *
 * A thread that ends, or does not answer, costs time and nothing else: its unfinished queries are made here, under masks
 * of this thread, and what it sends later is dropped. Masks leave the thread that draws them only inside the one query that
 * they hide, so no mask can serve two.
 */
import { TacetError } from "../../base/errors.ts";
import type { EncryptionPlatform, Thread } from "../../base/platform.ts";
import type { ForeignQuery } from "../../pll/client-layer.ts";
import { type QueryLayers, secretBytes } from "../../pll/query-maker.ts";
import type { Done, FromThread, ToThread } from "./messages.ts";

/** Where the queries of prompts are encrypted. */
export interface EncryptionStatus {
  /** Threads beside the client's own. */
  readonly threads: number;
  /** Why there are none, or no more of them. */
  readonly reason?: string | undefined;
}

/** With more the base model and the way to the provider take the time. */
const MOST_THREADS = 3;
/** Threads that have ended by themselves, after which no more are started. */
const MOST_ENDS = 3;
/**
 * A thread that has made nothing, or is not ready, in so many seconds in a row counts as ended. A process that sleeps
 * counts one.
 */
const SILENT_SECONDS = 10;
/** Memory that jobs have used and others will use, for each thread, and the largest piece that is kept. */
const SPARE_A_THREAD = 4;
const MOST_SPARE_BYTES = 8 << 20;
/** Vectors that are worth the way to another thread: about half a millisecond. */
export const LEAST_VECTORS = 16;

interface OpenJob {
  readonly vectors: number;
  readonly resolve: (query: ForeignQuery | undefined) => void;
  readonly reject: (error: Error) => void;
}

interface Worker {
  readonly thread: Thread;
  isReady: boolean;
  /** It has all the masks that it keeps. */
  isFull: boolean;
  readonly jobs: Map<number, OpenJob>;
  /** Vectors that it has not encrypted yet. */
  waiting: number;
  silentSeconds: number;
}

export class EncryptionThreads {
  /** Milliseconds that threads have encrypted. */
  ms = 0;
  readonly #platform: EncryptionPlatform | undefined;
  readonly #layers: QueryLayers;
  readonly #size: number;
  #reason: string | undefined;
  readonly #workers = new Set<Worker>();
  #ends = 0;
  #nextId = 1;
  #watch: unknown;
  #isIdle = false;
  #isClosed = false;
  /** Wiped memory that has come back: of x, and of what is secret of a query. */
  readonly #spare: ArrayBuffer[] = [];

  constructor(platform: EncryptionPlatform | undefined, layers: QueryLayers) {
    this.#platform = platform;
    this.#layers = layers;
    const cores = platform?.cores ?? 0;
    this.#size = Math.min(MOST_THREADS, Math.floor(cores / 2));
    if (platform === undefined) this.#reason = "this platform has no threads for it";
    else if (this.#size === 0) this.#reason = "there is one core";
  }

  /** Threads start with the first prompt. */
  get status(): EncryptionStatus {
    const threads = this.#workers.size;
    return this.#reason === undefined ? { threads } : { threads, reason: this.#reason };
  }

  /** How many threads can take jobs now. */
  get ready(): number {
    return [...this.#workers].filter(({ isReady }) => isReady).length;
  }

  /** Starts threads that are missing. @returns how many can take jobs now */
  start(): number {
    while (!this.#isClosed && this.#ends < MOST_ENDS && this.#workers.size < this.#size) this.#startOne();
    return this.ready;
  }

  /**
   * Has queries made by whoever has least to do, this thread among others, which makes its own after this call.
   *
   * @param sizes vectors of each query, which follow each other in x
   * @returns for each query what another thread makes of it, undefined if it could not; or undefined: it is this thread's
   */
  share(
    group: number,
    x: Float32Array,
    sizes: readonly number[],
  ): (Promise<ForeignQuery | undefined> | undefined)[] {
    const none = sizes.map(() => undefined);
    if (Math.max(...sizes) < LEAST_VECTORS || this.start() === 0) return none;
    const inFeatures = this.#layers.inFeatures[group];
    let own = 0;
    let first = 0;
    return sizes.map((vectors) => {
      const part = x.subarray(first * inFeatures, (first + vectors) * inFeatures);
      first += vectors;
      const worker = this.#leastBusy();
      if (worker === undefined || vectors < LEAST_VECTORS || own < worker.waiting) {
        own += vectors;
        return undefined;
      }
      return this.#give(worker, group, part, vectors);
    });
  }

  /** Says whether nothing is asked for now: threads then make masks for their parts of the next prompt. */
  rest(isIdle: boolean): void {
    this.#isIdle = isIdle;
    for (const worker of this.#workers) if (worker.isReady) this.#post(worker, { type: "idle", isIdle }, []);
  }

  /** Whether no thread has masks to make. */
  get isFull(): boolean {
    return [...this.#workers].every(({ isFull }) => isFull);
  }

  /** Ends all threads. Their open jobs fail. */
  dispose(): void {
    this.#isClosed = true;
    clearTimeout(this.#watch);
    for (const { thread, jobs } of this.#workers) {
      thread.end();
      for (const job of jobs.values()) job.reject(closed());
      jobs.clear();
    }
    this.#workers.clear();
    this.#spare.length = 0;
  }

  #leastBusy(): Worker | undefined {
    let best: Worker | undefined;
    for (const worker of this.#workers) {
      if (worker.isReady && (best === undefined || worker.waiting < best.waiting)) best = worker;
    }
    return best;
  }

  #give(
    worker: Worker,
    group: number,
    part: Float32Array,
    vectors: number,
  ): Promise<ForeignQuery | undefined> {
    const id = this.#nextId++;
    const room = this.#spareOf(part.byteLength) ?? new ArrayBuffer(part.byteLength);
    const x = new Float32Array(room, 0, part.length);
    x.set(part);
    const memory = this.#spareOf(secretBytes(vectors, part.length / vectors));
    worker.waiting += vectors;
    const made = new Promise<ForeignQuery | undefined>((resolve, reject) =>
      worker.jobs.set(id, { vectors, resolve, reject }),
    );
    made.catch(() => {}); // whoever awaits it is told
    worker.isFull = false;
    this.#post(worker, { type: "job", id, group, vectors, x, memory }, [
      room,
      ...(memory === undefined ? [] : [memory]),
    ]);
    if (x.length > 0) x.fill(0); // it did not move
    // Only what it says counts as a sign of life.
    if (worker.jobs.size === 1) worker.silentSeconds = 0;
    this.#lookLater();
    return made;
  }

  /** Never throws: a thread that takes no message counts as ended. */
  #post(worker: Worker, message: ToThread, transfer: readonly ArrayBuffer[]): void {
    try {
      worker.thread.post(message, transfer);
    } catch {
      // What it says may hold anything.
      this.#lose(worker, "a thread could not be given anything");
    }
  }

  #startOne(): void {
    let thread: Thread;
    try {
      thread = this.#platform!.start();
    } catch {
      this.#ends++;
      this.#reason = "no thread could be started";
      return;
    }
    const worker: Worker = {
      thread,
      isReady: false,
      isFull: false,
      jobs: new Map(),
      waiting: 0,
      silentSeconds: 0,
    };
    this.#workers.add(worker);
    thread.onMessage = (message) => this.#receive(worker, message as FromThread);
    thread.onEnd = (reason) => this.#lose(worker, reason);
    this.#post(worker, { type: "setup", layers: this.#layers, threads: this.#size + 1 }, []);
    this.#lookLater();
  }

  #receive(worker: Worker, message: FromThread): void {
    worker.silentSeconds = 0;
    switch (message.type) {
      case "ready":
        worker.isReady = true;
        clearTimeout(this.#watch);
        this.#watch = undefined;
        this.#lookLater();
        if (this.#isIdle) this.#post(worker, { type: "idle", isIdle: true }, []);
        break;
      case "full":
        worker.isFull = true;
        break;
      case "done":
        this.#done(worker, message);
    }
  }

  #done(worker: Worker, { id, query, memory, ms }: Done): void {
    const job = worker.jobs.get(id);
    if (job === undefined) {
      // The job was given up: its query is made here, or no longer wanted.
      if (query) wipeQuery(query);
      return;
    }
    worker.jobs.delete(id);
    worker.waiting -= job.vectors;
    this.ms += ms;
    this.#keep(memory);
    job.resolve(query);
  }

  /** The thread has ended: whoever waits for its queries makes them. */
  #lose(worker: Worker, reason: string): void {
    if (!this.#workers.delete(worker)) return;
    this.#ends++;
    this.#reason = reason;
    worker.thread.end();
    for (const job of worker.jobs.values()) job.resolve(undefined);
    worker.jobs.clear();
  }

  #look(): void {
    this.#watch = undefined;
    for (const worker of [...this.#workers]) {
      if (!isAwaited(worker) || ++worker.silentSeconds < SILENT_SECONDS) continue;
      const what = worker.isReady ? "made nothing" : "was not ready";
      this.#lose(worker, `a thread ${what} in ${SILENT_SECONDS} s`);
    }
    this.#lookLater();
  }

  /** Keeps watch while something is awaited. */
  #lookLater(): void {
    if (this.#watch !== undefined || ![...this.#workers].some(isAwaited)) return;
    this.#watch = setTimeout(() => this.#look(), 1000);
    // In Node the watch alone shall not keep a process alive.
    (this.#watch as { unref?: () => void }).unref?.();
  }

  /** Wipes what is secret of a query and takes its memory back. */
  giveBack(query: ForeignQuery): void {
    wipeQuery(query);
    this.#keep(query.secrets.buffer as ArrayBuffer);
  }

  #keep(memory: ArrayBuffer): void {
    if (this.#isClosed || memory.byteLength > MOST_SPARE_BYTES) return;
    this.#spare.push(memory);
    this.#spare.sort((a, b) => a.byteLength - b.byteLength);
    if (this.#spare.length > SPARE_A_THREAD * this.#size) this.#spare.shift();
  }

  /** The smallest spare memory of so many bytes. */
  #spareOf(bytes: number): ArrayBuffer | undefined {
    const index = this.#spare.findIndex(({ byteLength }) => byteLength >= bytes);
    return index < 0 ? undefined : this.#spare.splice(index, 1)[0];
  }
}

/** Whether a thread has something to say: that it is ready, or a query. */
function isAwaited({ isReady, jobs }: Worker): boolean {
  return !isReady || jobs.size > 0;
}

function wipeQuery(query: ForeignQuery): void {
  const { secrets, activations, scales } = query;
  query.state = "used";
  for (const secret of [secrets, activations, scales]) secret.fill(0);
}

function closed(): TacetError {
  return new TacetError("connection_lost", "the connection was closed");
}
