/** Of each name one thing at a time; others of the name wait. */

export interface Turn {
  /** Resolves when it is this one's turn. */
  readonly ready: Promise<void>;
  /** Gives the turn, or the place in the queue, up. */
  leave(): void;
}

interface Waiting {
  begin(): void;
}

export class OneAtATime {
  readonly #queues = new Map<string, Waiting[]>();

  enter(name: string): Turn {
    const queue = this.#queues.get(name) ?? [];
    this.#queues.set(name, queue);
    let begin = () => {};
    const ready = new Promise<void>((resolve) => (begin = resolve));
    const waiting: Waiting = { begin };
    queue.push(waiting);
    if (queue.length === 1) begin();
    return {
      ready,
      leave: () => {
        const at = queue.indexOf(waiting);
        if (at < 0) return;
        queue.splice(at, 1);
        if (queue.length === 0) this.#queues.delete(name);
        else if (at === 0) queue[0].begin();
      },
    };
  }
}
