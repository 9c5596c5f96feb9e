/**
 * Work of the client that need not be done before the base model goes on, such as applying keys to what has been sent. It is
 * done when somebody waits for an answer, since that time is free.
 */
export class WhileAway {
  /** Milliseconds that it has taken while somebody waited. */
  ms = 0;
  readonly #work: (() => void)[] = [];
  /** How many wait. */
  #waits = 0;

  /** Does it at once if somebody waits, else when somebody does. */
  put(work: () => void): void {
    if (this.#waits > 0) work();
    else this.#work.push(work);
  }

  /** Gives the answers; until they are there, what has been put off is done. */
  async wait<Answer>(answers: readonly Promise<Answer>[]): Promise<readonly Answer[]> {
    const start = performance.now();
    // All at once: one that fails shall not be done again by the next who waits.
    for (const work of this.#work.splice(0)) work();
    this.ms += performance.now() - start;
    this.#waits++;
    try {
      return answers.length === 1 ? [await answers[0]] : await Promise.all(answers);
    } finally {
      this.#waits--;
    }
  }

  clear(): void {
    this.#work.length = 0;
  }
}
