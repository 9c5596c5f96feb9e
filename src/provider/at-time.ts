/** Timers for times of the wall clock. */

/**
 * The clock may be set and the machine may sleep: it is looked at so often. Timers also hold no more than 24.8 days,
 * and run at once where they are given more.
 */
const LOOK_EVERY_MS = 60_000;

/**
 * Calls back once the clock has reached a time.
 *
 * @param timeMs milliseconds since 1970
 * @returns what cancels it
 */
export function atTime(timeMs: number, now: () => number, reached: () => void): () => void {
  let timer: unknown;
  const look = () => {
    const leftMs = timeMs - now();
    if (leftMs <= 0) reached();
    else timer = setTimeout(look, Math.min(leftMs, LOOK_EVERY_MS));
  };
  timer = setTimeout(look, Math.min(Math.max(0, timeMs - now()), LOOK_EVERY_MS));
  return () => clearTimeout(timer);
}
