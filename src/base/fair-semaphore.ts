/** A FIFO semaphore with a bounded queue and cancellation. */

import { throwIfAborted } from "./abort.ts";
import { TacetError } from "./errors.ts";

interface Waiting {
  enter(): void;
}

/**
 * With one step of a computation per turn this is round robin: who has made a step waits behind all others that are
 * ready. With one answer per turn it is a queue.
 */
export class FairSemaphore {
  readonly #most: number;
  readonly #mostWaiting: number;
  #running = 0;
  readonly #waiting: Waiting[] = [];

  /** @param mostWaiting who comes beyond these is turned away */
  constructor(most: number, mostWaiting = Number.POSITIVE_INFINITY) {
    this.#most = most;
    this.#mostWaiting = mostWaiting;
  }

  /** How many are at it now. */
  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Waits for a turn; call what it gives when the turn is over.
   * @throws TacetError too_many_requests if too many wait already, aborted if the signal fires while it waits
   */
  async take(signal?: AbortSignal): Promise<() => void> {
    throwIfAborted(signal);
    if (this.#running < this.#most) this.#running++;
    else {
      if (this.#waiting.length >= this.#mostWaiting)
        throw new TacetError("too_many_requests", `${this.#waiting.length} requests wait already`, {
          hint: "try again when some are answered",
        });
      await this.#wait(signal);
    }
    let over = false;
    return () => {
      if (over) return;
      over = true;
      // A turn passes on from hand to hand: nobody who comes now gets in between.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next.enter();
    };
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(new TacetError("aborted", "stopped on request"));
      };
      const waiting = {
        enter() {
          signal?.removeEventListener("abort", leave);
          resolve();
        },
      };
      this.#waiting.push(waiting);
      signal?.addEventListener("abort", leave, { once: true });
    });
  }
}
