/**
 * Masks made before they are needed: the offline half of the protocol, done while the client would be idle.
 *
 * A mask hides one query vector of any group. A query of one vector (a decode step) takes its mask from here. They are
 * made in idle time, when nothing has been asked for a moment, up to a stock of some prompts' and answers' length; and a
 * few at once when there are none left. Longer queries take theirs from here as well, as long as enough for an answer
 * stays: they take half the time then. Nothing here depends on an activation, a key or an answer, so neither does what
 * the network can see of it.
 */
import type { MaskSource, OneTimeMasks } from "../rlwe/mask-source.ts";

/** Decode steps of a short answer, and tokens of a short prompt: so many vectors of each group are kept ready. */
const ANSWER_STEPS = 64;
const PROMPT_TOKENS = 128;
/** Kernel memory that all masks together may take. */
const MOST_BYTES = 128 << 20;
/** Masks made at once: in idle time, and when there are none. */
const IDLE_BATCH = 16;
const BATCH = 4;
/** Quiet time before idle work starts, in milliseconds. */
const IDLE_MS = 4;

export interface StockSize {
  /** Masks that are kept ready, as far as memory bears it. */
  readonly capacity: number;
  /** Of them those that queries of several vectors leave. */
  readonly reserve: number;
  /** Idle work may be done, or must stop. */
  readonly onIdle?: ((isIdle: boolean) => void) | undefined;
  /** Idle work has found or made all that is kept. */
  readonly onFull?: (() => void) | undefined;
}

/** For answers and prompts, where `groups` groups are asked for each token. */
export function clientStock(groups: number): StockSize {
  const reserve = ANSWER_STEPS * groups;
  return { capacity: reserve + PROMPT_TOKENS * groups, reserve };
}

/** For one of so many threads that make a prompt together. */
export function threadStock(groups: number, threads: number): StockSize {
  return { capacity: Math.ceil(PROMPT_TOKENS / threads) * groups, reserve: 0 };
}

export class MaskStock {
  readonly #source: MaskSource;
  readonly #ready: OneTimeMasks[] = [];
  #capacity: number;
  /** What is left to queries of one vector. */
  readonly #reserve: number;
  readonly #onIdle: (isIdle: boolean) => void;
  readonly #onFull: () => void;
  #isIdle = false;
  /** Idle work done: milliseconds, and the masks that it made. */
  idleMs = 0;
  idleVectors = 0;
  #timer: unknown;
  #closed = false;

  constructor(source: MaskSource, { capacity, reserve, onIdle = () => {}, onFull = () => {} }: StockSize) {
    this.#source = source;
    this.#capacity = Math.max(1, Math.min(capacity, Math.floor(MOST_BYTES / source.maskBytes)));
    this.#reserve = reserve;
    this.#onIdle = onIdle;
    this.#onFull = onFull;
  }

  get isFull(): boolean {
    return this.#ready.length >= this.#capacity;
  }

  /** Masks for a query of `vectors` vectors; where those of several are not there yet, they are finished with the query. */
  take(vectors: number): OneTimeMasks {
    this.pause();
    if (vectors !== 1) {
      const left = this.#ready.length - vectors;
      if (left < this.#reserve) return this.#source.draw(vectors);
      const singles = this.#ready.splice(left);
      try {
        return this.#source.join(singles);
      } catch (error) {
        for (const masks of singles) this.#source.discard(masks);
        throw error;
      }
    }
    this.ensure();
    return this.#ready.pop() as OneTimeMasks;
  }

  /** Makes some masks where none is left: while an answer is on its way. */
  ensure(): void {
    if (this.#ready.length === 0) this.#make(BATCH);
  }

  /** Something is being asked: idle work stops. */
  pause(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#isIdle) return;
    this.#isIdle = false;
    this.#onIdle(false);
  }

  /** Nothing is asked for now: idle work may start in a moment. */
  rest(): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#work(), IDLE_MS);
  }

  /** Resolves when there is no idle work left. */
  async ready(): Promise<void> {
    while (!this.#closed && !this.isFull) {
      if (this.#timer === undefined) this.rest();
      await new Promise<void>((resolve) => setTimeout(resolve, IDLE_MS));
    }
  }

  /** Wipes all masks. */
  dispose(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const masks of this.#ready.splice(0)) this.#source.discard(masks);
  }

  #work(): void {
    this.#timer = undefined;
    if (this.#closed) return;
    if (!this.#isIdle) {
      this.#isIdle = true;
      this.#onIdle(true);
    }
    if (this.isFull) {
      this.#onFull();
      return;
    }
    const before = this.#ready.length;
    const start = performance.now();
    try {
      this.#make(Math.min(IDLE_BATCH, this.#capacity - before));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      // Memory can't grow: what there is must do, and some is left to queries.
      this.#capacity = Math.max(1, before >> 1);
      for (const masks of this.#ready.splice(this.#capacity)) this.#source.discard(masks);
    }
    this.idleMs += performance.now() - start;
    this.idleVectors += Math.max(0, this.#ready.length - before);
    this.#timer = setTimeout(() => this.#work(), 0);
  }

  #make(count: number): void {
    for (let i = 0; i < count; i++) this.#ready.push(this.#source.make(1));
  }
}
