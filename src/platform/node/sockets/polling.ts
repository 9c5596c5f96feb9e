/**
 * Adaptive polling: the event loop does not sleep while the next message is due within a moment.
 *
 * A sleeping process is woken by the kernel, which takes 30 to 300 µs on a virtual machine: longer than the private
 * layer itself. While a poller is awake, libuv asks for events without waiting. It stays awake only where that can
 * pay: if messages have lately come within `maxMicros` of being expected, and no longer than that. So a large model
 * (milliseconds between queries) or a far provider costs no processor time.
 */
import { usableProcessors } from "../cores.ts";

/**
 * Longest time awake where nothing else is said. On two cores the client may be on this machine too, and its base model
 * wants both: polling long would cost it more than being woken costs the provider.
 */
export function usualPollMicros(cores = usableProcessors()): number {
  return cores > 2 ? 2_000 : 500;
}

export class Poller {
  readonly #maxMicros: number;
  /** Moving average of the time from expect() to arrived(), in microseconds. */
  #usual = 0;
  #since = 0;
  #until = 0;
  #running = false;

  /** @param maxMicros longest time to stay awake, in microseconds; 0: never */
  constructor(maxMicros: number) {
    this.#maxMicros = maxMicros;
  }

  /** A message is due from now on. */
  expect(): void {
    if (this.#maxMicros === 0) return;
    this.#since = performance.now();
    if (this.#usual > this.#maxMicros) return;
    this.#until = this.#since + this.#maxMicros / 1000;
    if (this.#running) return;
    this.#running = true;
    setImmediate(this.#turn);
  }

  /** It came. What was late counts as twice the longest time: a reader's pause shall not be remembered for long. */
  arrived(): void {
    if (this.#since === 0) return;
    const waited = Math.min((performance.now() - this.#since) * 1000, 2 * this.#maxMicros);
    this.#usual += (waited - this.#usual) / 8;
    this.#since = 0;
    this.#until = 0;
  }

  readonly #turn = (): void => {
    if (performance.now() < this.#until) setImmediate(this.#turn);
    else this.#running = false;
  };
}
