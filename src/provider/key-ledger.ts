/** What keeps an account's keys and counts what is asked under them: a store (meter.ts), or the connection alone. */

export interface Charged {
  /** Vectors left of the budget that leaves least; undefined: no budget. */
  readonly left: number | undefined;
  /** Whether the same request had been charged before; then it was not charged again. */
  readonly replayed: boolean;
  /** Vectors that the key has left of the group after this; undefined where the ledger does not say. */
  readonly keyLeft: number | undefined;
}

export interface KeyLedger {
  /** Whose keys they are. */
  readonly account: string;
  /** The id of a new key; it will be known when this resolves, whatever happens then. */
  allocate(): Promise<Uint8Array>;
  /** Vectors left of the group that has fewest; undefined for a key that is not one of the account's. */
  left(keyIds: readonly Uint8Array[]): Promise<(number | undefined)[]>;
  /**
   * Charges a query that is well-formed; the answer may leave when this is done and not before: when it has returned,
   * or when what it returns resolves.
   *
   * @throws TacetError unknown_key, worn_key, and what else keeps the query from being answered; nothing is charged then
   */
  charge(
    group: number,
    vectors: number,
    ciphertext: Uint8Array,
    keyId: Uint8Array,
  ): Charged | Promise<Charged>;
}
