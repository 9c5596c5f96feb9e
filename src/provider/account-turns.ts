/** One thing at a time for each account: requests for keys wait here for each other. */

export interface Place {
  /** Resolves when it is this one's turn. */
  readonly ready: Promise<void>;
  /** Gives the turn, or the place in the queue, up. */
  leave(): void;
}

interface Waiting {
  begin(): void;
}

export class AccountTurns {
  readonly #queues = new Map<string, Waiting[]>();

  enter(account: string): Place {
    const queue = this.#queues.get(account) ?? [];
    this.#queues.set(account, queue);
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
        if (queue.length === 0) this.#queues.delete(account);
        else if (at === 0) queue[0].begin();
      },
    };
  }
}
