/**
 * What a server sends in one turn of the event loop is written at the turn's end: a connection's messages in one write,
 * and the connections one after another.
 *
 * A write costs a connection as much for one message as for several. And on one machine each write wakes its reader,
 * which costs more than anything else about it; readers that are awake already need not be woken, so one process with
 * many connections is woken once instead of once for each.
 */
import type { Socket } from "node:net";

/** Connections after which the turn's end is not waited for: those answered first need not wait for all others. */
const MOST_STREAMS = 64;

export class TurnWrites {
  #streams = new Set<Socket>();
  /** Messages of this turn, and of the last one that had any. */
  #messages = 0;
  #before = 0;

  /**
   * To be called before each message is written. What is written to this stream from now on leaves at the turn's end, in the
   * order in which it is written; a message that is probably alone leaves at once.
   */
  collect(stream: Socket): void {
    this.#messages++;
    if (this.#messages === 1) {
      setImmediate(this.#turnEnded);
      if (this.#before === 1) return;
    }
    if (this.#streams.has(stream)) return;
    if (this.#streams.size === MOST_STREAMS) this.#write();
    stream.cork();
    this.#streams.add(stream);
  }

  readonly #turnEnded = (): void => {
    this.#before = this.#messages;
    this.#messages = 0;
    this.#write();
  };

  #write(): void {
    const streams = this.#streams;
    if (streams.size === 0) return;
    this.#streams = new Set();
    for (const stream of streams) stream.uncork();
  }
}
