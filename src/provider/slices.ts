/**
 * Long work in this thread, in slices: between two of them whoever has asked something short is answered.
 *
 * A slice has at least one step, and goes on for half the time that was spent on other things since the one before. So
 * where little is asked a query waits for one step at most, and where much is asked long work still gets a third of the time.
 */
const SHARE = 1 / 2;

/** Resolves when what has come meanwhile has been read. */
export type AfterEvents = () => Promise<void>;

/** Where the runtime has nothing better: a timer, which waits a millisecond. */
export const afterTimer: AfterEvents = () => new Promise((resolve) => setTimeout(resolve, 0));

/** Calls `step` until it returns false. Rejects with what it throws. @param now milliseconds of a clock */
export async function inSlices(
  step: () => boolean,
  afterEvents: AfterEvents,
  now: () => number = () => performance.now(),
): Promise<void> {
  let ended = now();
  for (;;) {
    await afterEvents();
    const begun = now();
    const until = begun + SHARE * (begun - ended);
    do {
      if (!step()) return;
      ended = now();
    } while (ended < until);
  }
}
