/** How many drafts are worth their time, from what passes and drafts have taken so far. */

/** What was seen long ago counts less: after so many observations a third. */
const MEMORY = 20;
const KEEP = 1 - 1 / MEMORY;
/** A gain that is smaller than this may be an error of measurement. */
const LEAST_GAIN = 1.1;

/** How often something was right, falling back to a guess while little is known. */
export class Acceptance {
  readonly #guess: number;
  #tried = 0;
  #right = 0;

  constructor(guess: number) {
    this.#guess = guess;
  }

  /** The probability that the next one is right, if those before were. */
  get rate(): number {
    // The guess counts as much as four drafts.
    return (4 * this.#guess + this.#right) / (4 + this.#tried);
  }

  /** Whether the guess counts more than what was seen. */
  get isGuess(): boolean {
    return this.#tried < 4;
  }

  /** @param drafted how many there were. Behind the first wrong one nothing is known. */
  add(accepted: number, drafted: number): void {
    this.forget();
    this.#right += accepted;
    this.#tried += Math.min(drafted, accepted + 1);
  }

  /** Time goes on without an observation. */
  forget(): void {
    this.#right *= KEEP;
    this.#tried *= KEEP;
  }
}

/** The first passes of a session also wait for keys, and for what look-ahead asks once. */
const ENOUGH_PASSES = 4;

/**
 * Milliseconds of a pass: what is expected of so many rows by what is known of line and model, and fixed + rows·each on
 * top, by least squares over what was measured. Left out are the first passes.
 */
export class PassCost {
  #count = 0;
  #weight = 0;
  #rows = 0;
  #ms = 0;
  #rowsRows = 0;
  #rowsMs = 0;

  /** Whether enough was measured to plan by. */
  get isKnown(): boolean {
    return this.#count >= ENOUGH_PASSES;
  }

  /** @param expected milliseconds for so many rows */
  at(rows: number, expected: number): number {
    if (this.#weight === 0) return expected;
    const [meanRows, meanMs] = [this.#rows / this.#weight, this.#ms / this.#weight];
    const spread = this.#rowsRows - this.#weight * meanRows ** 2;
    const together = this.#rowsMs - this.#weight * meanRows * meanMs;
    // While all passes have been alike a row costs what is expected. It costs no less: that is what the line did at best.
    const each = Math.max(0, together / (spread + 4));
    return Math.max(0, expected + meanMs + (rows - meanRows) * each);
  }

  add(rows: number, ms: number, expected: number): void {
    if (this.#count++ < ENOUGH_PASSES) return;
    // A pass that waited for a key, a lost connection or somebody else's work says little about the next.
    const seen = this.#weight === 0 ? ms : Math.min(ms, 3 * this.at(rows, expected));
    const beside = seen - expected;
    this.#weight = KEEP * this.#weight + 1;
    this.#rows = KEEP * this.#rows + rows;
    this.#ms = KEEP * this.#ms + beside;
    this.#rowsRows = KEEP * this.#rowsRows + rows ** 2;
    this.#rowsMs = KEEP * this.#rowsMs + rows * beside;
  }
}

/** Milliseconds of passes and drafts. */
export interface DraftCosts {
  passMs(rows: number): number;
  /** Of one draft. */
  readonly draftMs: number;
}

/**
 * The k ≤ most with the most tokens a millisecond: a pass of k drafts, each right with probability p if those before are,
 * gives 1 + p + … + p^k tokens on the average, for passMs(k + 1) + k·draftMs. 0 where the gain is too small to be sure of.
 */
export function bestCount(most: number, p: number, { passMs, draftMs }: DraftCosts): number {
  const plain = 1 / Math.max(passMs(1), 1e-9);
  let best = { count: 0, rate: LEAST_GAIN * plain };
  let tokens = 1;
  for (let count = 1; count <= most; count++) {
    tokens += p ** count;
    const rate = tokens / Math.max(passMs(count + 1) + count * draftMs, 1e-9);
    if (rate > best.rate) best = { count, rate };
  }
  return best.count;
}
