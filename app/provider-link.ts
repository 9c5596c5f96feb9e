/** The way to the provider: tried until it stands, and again after it was lost; the page hears of each step. */
import { type ErrorCode, TacetError } from "../src/base/errors.ts";
import type { Failure, LinkState } from "./messages.ts";

/** Milliseconds before the second try; doubles with each one. */
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;

/** A connection that is gone. */
const LOST: readonly ErrorCode[] = ["connection_failed", "connection_lost", "timed_out", "shutting_down"];
/** What may pass by itself. */
const PASSING: readonly ErrorCode[] = [...LOST, "unavailable", "too_many_requests"];

export class ProviderLink<T> {
  readonly #open: (token: string) => Promise<T>;
  readonly #tell: (state: Exclude<LinkState, { state: "ready" }>) => void;
  #token = "";
  #joined: T | undefined;
  #failure: TacetError | undefined;
  /** Ends a wait. */
  #wake: () => void = () => {};
  /** Called when it stands or has failed once more. */
  #settled: (() => void)[] = [];

  /** @param open connects and prepares; what it fails with is told, and tried again where that may help */
  constructor(
    open: (token: string) => Promise<T>,
    tell: (state: Exclude<LinkState, { state: "ready" }>) => void,
  ) {
    this.#open = open;
    this.#tell = tell;
  }

  /** Tries until it stands. */
  async join(): Promise<void> {
    this.#joined = undefined;
    for (let wait = FIRST_WAIT_MS; ; ) {
      this.#failure = undefined;
      this.#tell({ state: "connecting" });
      try {
        this.#joined = await this.#open(this.#token);
        this.#settle();
        return;
      } catch (error) {
        this.#failure = known(error);
        const pause = this.#report(this.#failure, wait);
        this.#settle();
        const asked = await this.#sleep(pause);
        wait = asked ? FIRST_WAIT_MS : Math.min(2 * wait, LONGEST_WAIT_MS);
      }
    }
  }

  /** Tries now, with another key where one is given. */
  retry(token = this.#token): void {
    this.#token = token;
    this.#wake();
  }

  /** What stands, after a try that is under way. @throws TacetError why nothing stands */
  async current(signal: AbortSignal): Promise<T> {
    while (this.#joined === undefined && this.#failure === undefined && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#settled.push(resolve);
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
    if (this.#joined !== undefined) return this.#joined;
    throw this.#failure ?? new TacetError("aborted", "stopped");
  }

  /** @returns milliseconds until the next try; undefined: when asked to */
  #report(error: TacetError, wait: number): number | undefined {
    if (error.code === "unauthorized") {
      this.#tell({ state: "key", refused: this.#token !== "" });
      return undefined;
    }
    const failure = failureOf(error);
    if (!PASSING.includes(error.code)) {
      this.#tell({ state: "refused", failure });
      return undefined;
    }
    this.#tell({ state: "waiting", failure, retryMs: wait });
    return wait;
  }

  /** @returns whether somebody asked for it to end */
  #sleep(milliseconds: number | undefined): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = milliseconds === undefined ? undefined : setTimeout(() => resolve(false), milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = () => {};
        resolve(true);
      };
    });
  }

  #settle(): void {
    const waiting = this.#settled;
    this.#settled = [];
    for (const resolve of waiting) resolve();
  }
}

/** Whether a connection that stood can't be used any more after this. */
export function endsLink(error: unknown): boolean {
  const { code } = known(error);
  return code === "unauthorized" || code === "bundle_changed" || LOST.includes(code);
}

export function known(error: unknown): TacetError {
  return error instanceof TacetError ? error : new TacetError("internal", "the page failed");
}

export function failureOf(error: unknown): Failure {
  const { code, message, hint = "" } = known(error);
  return { code, message, hint };
}
