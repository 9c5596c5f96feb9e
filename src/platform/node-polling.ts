/**
 * Adaptive polling: for a short time after traffic the event loop does not sleep.
 *
 * A sleeping process is woken by the kernel, which takes 30 to 60 µs here: as long as the private layer itself.
 * While a poller is awake, libuv asks for events without waiting. It falls asleep `micros` after the last call.
 */
export class Poller {
  readonly #micros: number;
  #until = 0;
  #running = false;

  /** @param micros how long to stay awake; 0: never */
  constructor(micros: number) {
    this.#micros = micros;
  }

  stayAwake(): void {
    if (this.#micros === 0) return;
    this.#until = performance.now() + this.#micros / 1000;
    if (this.#running) return;
    this.#running = true;
    setImmediate(this.#turn);
  }

  rest(): void {
    this.#until = 0;
  }

  readonly #turn = (): void => {
    if (performance.now() < this.#until) setImmediate(this.#turn);
    else this.#running = false;
  };
}
