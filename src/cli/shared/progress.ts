/** A progress bar on stderr for work of over a second; on a terminal only. */
import { Presets, SingleBar } from "cli-progress";
import { onExit } from "./interrupt.ts";

/** Work that is done within this time shows no bar. */
const QUIET_MS = 600;

export class Progress {
  readonly #label: string;
  readonly #start = performance.now();
  #bar: SingleBar | undefined;
  #forget = (): void => {};

  constructor(label: string) {
    this.#label = label;
  }

  /** Fraction of the work that is done. */
  readonly update = (fraction: number): void => {
    if (!process.stderr.isTTY) return;
    if (this.#bar === undefined) {
      if (performance.now() - this.#start < QUIET_MS) return;
      this.#bar = new SingleBar(
        {
          format: `${this.#label} {bar} {percentage} %`,
          barsize: 30,
          stream: process.stderr,
          clearOnComplete: true,
          hideCursor: true,
          gracefulExit: false,
        },
        Presets.shades_classic,
      );
      this.#bar.start(100, 0);
      // It hides the cursor, which must come back also when the process is cut off.
      this.#forget = onExit(() => this.#bar?.stop());
    }
    this.#bar.update(Math.floor(100 * fraction));
  };

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
    this.#forget();
  }

  /** Runs work under a bar that goes away whatever happens. */
  static async during<T>(
    label: string,
    work: (update: (fraction: number) => void) => Promise<T>,
  ): Promise<T> {
    const progress = new Progress(label);
    try {
      return await work(progress.update);
    } finally {
      progress.stop();
    }
  }
}
