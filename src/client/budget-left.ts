/** What the provider says is left of an account's budget. It is the provider's word; nothing here enforces it. */

export interface BudgetLeft {
  /** Activation vectors that may be asked of each group, in all or in a window. */
  readonly vectors: number;
  /** Seconds of a window, counted from 1970-01-01T00:00:00Z; 0: `vectors` in all. */
  readonly windowSeconds: number;
  /** Vectors left of the group that has fewest. */
  readonly left: number;
}

/** Follows a budget through a Welcome and the answers after it. */
export class BudgetWatch {
  #welcome: BudgetLeft | undefined;
  readonly #leftOf = new Map<number, number>();

  get now(): BudgetLeft | undefined {
    if (this.#welcome === undefined) return undefined;
    return { ...this.#welcome, left: Math.min(this.#welcome.left, ...this.#leftOf.values()) };
  }

  welcomed(budget: BudgetLeft | undefined): void {
    this.#welcome = budget;
    this.#leftOf.clear();
  }

  answered(group: number, left: number | undefined): void {
    if (this.#welcome === undefined || left === undefined) return;
    // More than before: a new window has begun, for all groups.
    if (left > (this.#leftOf.get(group) ?? this.#welcome.vectors)) this.#renew();
    this.#leftOf.set(group, left);
  }

  #renew(): void {
    if (this.#welcome) this.#welcome = { ...this.#welcome, left: this.#welcome.vectors };
    this.#leftOf.clear();
  }
}
