/**
 * How much a template may do. It comes with a model folder, so it is not trusted: one that would run for hours, or
 * fill the memory, is refused.
 *
 * Rendering is synchronous, so one counter serves: `withBudget` sets it and puts the former one back.
 */
import { TemplateFault } from "./errors.ts";

/**
 * Steps of one rendering: one for each part of the template that is evaluated, for each element that is looked at,
 * and for each {@link CHARS_PER_STEP} characters. A conversation of 1,000 messages takes about 100,000.
 */
export const MAX_STEPS = 10_000_000;
/** Of one text or list, in characters or elements: what the next operation would make is known before it is made. */
export const MAX_LENGTH = 1 << 25;
const CHARS_PER_STEP = 16;

let left = 0;

export function withBudget<T>(run: () => T): T {
  const before = left;
  left = MAX_STEPS;
  try {
    return run();
  } finally {
    left = before;
  }
}

/** @throws TemplateFault when the budget is spent */
export function spend(steps: number): void {
  left -= steps;
  if (left < 0) throw new TemplateFault("it does too much for one conversation");
}

/** For an operation that reads or makes a text. */
export function spendOnText(length: number): void {
  checkLength(length);
  spend(1 + Math.floor(length / CHARS_PER_STEP));
}

/** @throws TemplateFault if a text or list of that length is not made */
export function checkLength(length: number): void {
  if (length > MAX_LENGTH) throw new TemplateFault("it makes a text or list that is too long");
}
