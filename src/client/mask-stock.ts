/**
 * Masks made before they are needed: the offline half of the protocol, done while the client would be idle.
 *
 * A query of one vector (a decode step) takes its masks from here. They are made
 * - in idle time: when nothing has been asked for a moment, up to a stock of some answers' length for each group;
 * - when a group has run out, several at once, since public element and hint then come into the cache once.
 * Nothing here depends on an activation or an answer, so neither does what the network can see of it.
 */
import type { ClientLayer } from "../pll/client-layer.ts";
import type { OneTimeMasks } from "../pll/one-time-masks.ts";

/** Vectors that are kept ready for each group: the decode steps of a short answer. */
const MOST_VECTORS = 64;
/** Kernel memory that all masks together may take. */
const MOST_BYTES = 64 << 20;
/** Masks made at once. */
const BATCH = 8;
/** Quiet time before idle work starts, and rests between its batches, in milliseconds. */
const IDLE_MS = 4;

export class MaskStock {
  readonly #layers: readonly ClientLayer[];
  readonly #ready: OneTimeMasks[][];
  readonly #capacity: number;
  /** Idle work done: milliseconds, and the vectors that it made masks for. */
  idleMs = 0;
  idleVectors = 0;
  #timer: unknown;
  #closed = false;

  constructor(layers: readonly ClientLayer[]) {
    this.#layers = layers;
    this.#ready = layers.map(() => []);
    const bytes = layers.reduce((sum, layer) => sum + layer.maskBytes, 0);
    this.#capacity = Math.max(1, Math.min(MOST_VECTORS, Math.floor(MOST_BYTES / bytes)));
    this.rest();
  }

  /** Masks for a query of `vectors` vectors of a group. */
  take(group: number, vectors: number): OneTimeMasks {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (vectors !== 1) return this.#layers[group].prepareMasks(vectors);
    this.ensure(group);
    return this.#ready[group].pop() as OneTimeMasks;
  }

  /** Makes some masks of a group that has none left: while the answer of another one is on its way. */
  ensure(group: number): void {
    if (this.#ready[group].length > 0) return;
    // Groups run out at different steps, so that no step pays for all of them.
    this.#make(group, Math.min(this.#capacity, 1 + ((BATCH - 1 + group) % BATCH)));
  }

  /** Nothing is asked for now: idle work may start in a moment. */
  rest(): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#work(), IDLE_MS);
  }

  /** Resolves when there is no idle work left. */
  async ready(): Promise<void> {
    while (!this.#closed && this.#ready.some((list) => list.length < this.#capacity)) {
      if (this.#timer === undefined) this.rest();
      await new Promise<void>((resolve) => setTimeout(resolve, IDLE_MS));
    }
  }

  /** Wipes all masks. */
  dispose(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const [group, list] of this.#ready.entries()) {
      for (const masks of list) this.#layers[group].discard(masks);
      list.length = 0;
    }
  }

  #work(): void {
    const sizes = this.#ready.map((list) => list.length);
    const least = Math.min(...sizes);
    this.#timer = undefined;
    if (this.#closed || least >= this.#capacity) return;
    const count = Math.min(BATCH, this.#capacity - least);
    const start = performance.now();
    this.#make(sizes.indexOf(least), count);
    this.idleMs += performance.now() - start;
    this.idleVectors += count;
    this.#timer = setTimeout(() => this.#work(), 0);
  }

  #make(group: number, count: number): void {
    this.#ready[group].push(...this.#layers[group].prepareSingles(count));
  }
}
