/** What a terminal shows while a model is loaded. */
import type { PrepareProgress } from "../../model/weights/quantized-weights.ts";
import { Progress } from "./progress.ts";

/** A bar for each step of loading, one after the other. */
export class LoadProgress {
  readonly #bars = new Map<string, Progress>();

  readonly prepare = ({ step, fraction }: PrepareProgress): void => {
    this.#show(step === "quantizing" ? "quantizing, once" : "checking the weights", fraction);
  };

  readonly load = (fraction: number): void => this.#show("loading", fraction);

  stop(): void {
    for (const bar of this.#bars.values()) bar.stop();
    this.#bars.clear();
  }

  #show(label: string, fraction: number): void {
    if (!this.#bars.has(label)) {
      this.stop();
      this.#bars.set(label, new Progress(label));
    }
    this.#bars.get(label)!.update(fraction);
  }
}
