/** Keys and values of a cache that stay on a device: each pass reads them there, and gives new ones with its rows behind. */
import type { Tensor } from "../base/platform.ts";

/** A tensor is never changed: caches share it, and the last one that lets go of it frees it. */
interface Shared {
  readonly tensor: Tensor;
  users: number;
}

type Held = Map<string, Shared>;

/** Caches that nobody has any more, and nobody has disposed. */
const forgotten = new FinalizationRegistry<Held>(freeAll);

function freeAll(held: Held): void {
  for (const shared of held.values()) letGo(shared);
  held.clear();
}

function letGo(shared: Shared): void {
  if (--shared.users === 0) shared.tensor.free?.();
}

export class KeptRows {
  /** By name of the graph's input. Apart from the object, so that it can be freed after it. */
  readonly #held: Held = new Map();

  constructor() {
    forgotten.register(this, this.#held, this);
  }

  current(name: string): Tensor | undefined {
    return this.#held.get(name)?.tensor;
  }

  /**
   * Takes what a pass has made of the tensor of this name. It has all rows that the cache counts, and others behind
   * them, so it takes the old one's place at once.
   */
  store(name: string, tensor: Tensor): void {
    const before = this.#held.get(name);
    this.#held.set(name, { tensor, users: 1 });
    if (before) letGo(before);
  }

  /** Begins with another one's. */
  share(other: KeptRows): void {
    for (const [name, shared] of other.#held) {
      shared.users++;
      this.#held.set(name, shared);
    }
  }

  /** Has another one's instead of its own. */
  take(other: KeptRows): void {
    freeAll(this.#held);
    this.share(other);
  }

  /** Frees what nobody shares. Nothing can be stored any more. */
  dispose(): void {
    freeAll(this.#held);
    forgotten.unregister(this);
  }
}
