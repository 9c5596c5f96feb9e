/** Ctrl-C, SIGTERM and a reader that has gone: work is asked to stop, and what must be undone is undone. */
import { TacetError } from "../../base/errors.ts";

/** After this long work that does not stop by itself is cut off. */
const PATIENCE_MS = 3_000;
let patienceMs = PATIENCE_MS;
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

export interface Interruption {
  /** Fires with a TacetError "aborted" as its reason. */
  readonly signal: AbortSignal;
  /** How the process must end, once the signal has fired. */
  readonly exitCode: number | undefined;
}

/** Installs the handlers; called once, by main. */
export function watchInterruptions(): Interruption {
  const controller = new AbortController();
  let exitCode: number | undefined;
  const stop = (code: number): void => {
    // Asked twice: at once.
    if (exitCode !== undefined) process.exit(exitCode);
    exitCode = code;
    setTimeout(() => process.exit(code), patienceMs).unref();
    controller.abort(new TacetError("aborted", "interrupted"));
  };
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => stop(EXIT_CODES[name]));
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // `| head` has what it wanted; anything else (a full disk) is a failure.
    if (error.code !== "EPIPE") process.stderr.write(`error: stdout cannot be written (${error.code})\n`);
    process.exit(error.code === "EPIPE" ? 0 : 3);
  });
  process.stderr.on("error", () => {});
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
  };
}

/** A command that ends in order takes up to `ms` for it; asked twice it still ends at once. */
export function takeTimeToStop(ms: number): void {
  patienceMs = ms + PATIENCE_MS;
}

/** Resolves at a signal to stop, or when the process that started this one over IPC has gone. */
export async function untilStopped(signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
    process.once("disconnect", () => resolve());
  });
}

/** Runs when the process ends, however it ends but by SIGKILL; must be synchronous. Returns what takes it back. */
export function onExit(undo: () => void): () => void {
  process.on("exit", undo);
  return () => process.off("exit", undo);
}
