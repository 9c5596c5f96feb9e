/**
 * What an account has asked of one group, kept so that no order of questions makes it smaller.
 *
 * The model, which both stores hold to (property tests: budgets.test.ts):
 *
 * 1. A budget limits the account, not the key that carries it: "at most `vectors` of each group in a window". A query
 *    is answered if it fits into every budget that applies: the budgets of all valid keys of its account that may ask
 *    its adapter.
 * 2. Every charge counts for every budget, whichever key asked, whether that key had a budget or not, and whether the
 *    budget existed then or not. A budget that is new or changed finds what was asked before.
 * 3. A window of W seconds begins at each multiple of W since 1970; what counts is all that was asked since it began.
 *    For W = 0 it is all that was ever asked.
 * 4. Time does not run backwards: a charge happens at max(clock, time of the latest charge). A clock that is set back,
 *    or is behind another replica's, opens no window again.
 * 5. Where it is not known when something was asked, it counts as asked now. So a count may be too large, never too
 *    small.
 *
 * The form: the total, and marks (start, before): before `start` at least `before` vectors had been asked. Then
 *
 *     asked since S = total − max { before : start ≤ S },   0 where the latest charge is older than S
 *
 * is never too small, and exact where a mark is on S. Each slot has a mark at the beginning of the current minute,
 * hour, day and week, and of the window of each other length that a budget has used lately, so counts are exact for
 * those, also right after a budget has changed from one length to another. A length that is new counts too much at
 * most until its next window begins.
 */
import type { Grant, Remaining } from "./store.ts";

/** What `tacet keys --budget` can say, in seconds: always marked. */
export const MARKED_WINDOWS = [60, 3_600, 86_400, 604_800] as const;
/** Lengths that are marked at a time: more than anybody uses, few enough that a slot stays below 1 kB. */
export const MOST_MARKS = 16;

export interface Mark {
  readonly windowSeconds: number;
  /** Milliseconds since 1970. */
  readonly start: number;
  /** At least so many vectors were asked before `start`. */
  readonly before: number;
}

/** Start of the window that a time is in, in milliseconds. */
export function windowStart(nowMs: number, windowSeconds: number): number {
  return windowSeconds === 0 ? 0 : Math.floor(nowMs / (1000 * windowSeconds)) * 1000 * windowSeconds;
}

export class AskedCounts {
  #total: number;
  #latest: number;
  readonly #marks: Mark[];

  /** @param marks those of MARKED_WINDOWS first; without them nothing is known of when it was asked */
  constructor(total = 0, latest = 0, marks: readonly Mark[] = UNMARKED) {
    this.#total = total;
    this.#latest = latest;
    this.#marks = [...marks];
  }

  /**
   * What version 0.1.0 kept: a total, and how much of it lay in one window. If that is all, it was asked in that
   * window; else nobody knows when, and all of it counts as asked now.
   */
  static fromVersion1(
    total: number,
    windowVectors: number,
    window: number,
    windowSeconds: number,
    nowMs: number,
  ): AskedCounts {
    const isDated = windowSeconds > 0 && windowVectors >= total;
    const latest = isDated ? endOf(window, windowSeconds, nowMs) : nowMs;
    return new AskedCounts(total, total === 0 ? 0 : latest);
  }

  /** Vectors ever charged. */
  get total(): number {
    return this.#total;
  }

  /** Time of the latest charge, in milliseconds since 1970; 0: none. */
  get latest(): number {
    return this.#latest;
  }

  get marks(): readonly Mark[] {
    return this.#marks;
  }

  /** The time that a charge has when the clock says `nowMs`. */
  timeOf(nowMs: number): number {
    return Math.max(nowMs, this.#latest);
  }

  /** Vectors asked in the current window, or more where that is not known. */
  asked(windowSeconds: number, nowMs: number): number {
    return windowSeconds === 0
      ? this.#total
      : this.#askedSince(windowStart(this.timeOf(nowMs), windowSeconds));
  }

  /** Of the budgets the one that leaves least, of equal ones the one that does so longest; undefined without any. */
  remaining(budgets: readonly Grant[], nowMs: number): Remaining | undefined {
    let least: Remaining | undefined;
    for (const budget of budgets) {
      const { vectors, windowSeconds } = budget;
      const left = Math.max(0, vectors - this.asked(windowSeconds, nowMs));
      const start = windowStart(this.timeOf(nowMs), windowSeconds);
      const endsAt = windowSeconds === 0 ? Number.POSITIVE_INFINITY : start + 1000 * windowSeconds;
      const found = { budget, left, endsAt };
      if (least === undefined || isTighter(found, least)) least = found;
    }
    return least;
  }

  /** Marks the windows of these budgets from now on. True where one was not marked before. */
  mark(budgets: readonly Grant[], nowMs: number): boolean {
    let isNew = false;
    for (const { windowSeconds } of budgets) {
      if (windowSeconds === 0 || this.#marks.some((mark) => mark.windowSeconds === windowSeconds)) continue;
      const place = this.#place(budgets);
      if (place === undefined) continue;
      this.#marks[place] = this.#markOf(windowSeconds, this.timeOf(nowMs));
      isNew = true;
    }
    return isNew;
  }

  /** Counts vectors at a time that timeOf gave. */
  add(vectors: number, time: number): void {
    const marks = this.#marks;
    for (let i = 0; i < marks.length; i++) {
      const { windowSeconds, start } = marks[i];
      if (windowStart(time, windowSeconds) !== start) marks[i] = this.#markOf(windowSeconds, time);
    }
    this.#total += vectors;
    this.#latest = Math.max(time, this.#latest);
  }

  #markOf(windowSeconds: number, time: number): Mark {
    const start = windowStart(time, windowSeconds);
    return { windowSeconds, start, before: this.#total - this.#askedSince(start) };
  }

  #askedSince(start: number): number {
    if (this.#latest < start) return 0;
    let before = 0;
    for (const mark of this.#marks) if (mark.start <= start && mark.before > before) before = mark.before;
    return this.#total - before;
  }

  /** Where a new mark goes: at the end, or, if there are enough, where one is that no budget needs. */
  #place(budgets: readonly Grant[]): number | undefined {
    if (this.#marks.length < MOST_MARKS) return this.#marks.length;
    const isNeeded = (length: number) => budgets.some(({ windowSeconds }) => windowSeconds === length);
    const i = this.#marks.findIndex((mark, at) => at >= UNMARKED.length && !isNeeded(mark.windowSeconds));
    return i === -1 ? undefined : i;
  }
}

const UNMARKED: readonly Mark[] = MARKED_WINDOWS.map((windowSeconds) => ({
  windowSeconds,
  start: 0,
  before: 0,
}));

/** The last moment at which something in a window can have been asked, seen from now. */
export function endOf(window: number, windowSeconds: number, nowMs: number): number {
  return Math.min(nowMs, window + 1000 * windowSeconds - 1);
}

/** A total order, so that both stores name the same budget. */
function isTighter(a: Remaining, b: Remaining): boolean {
  if (a.left !== b.left) return a.left < b.left;
  if (a.endsAt !== b.endsAt) return a.endsAt > b.endsAt;
  return a.budget.vectors < b.budget.vectors;
}
