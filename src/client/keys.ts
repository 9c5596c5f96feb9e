/** Keys of private layers as they travel, and who gives and holds them. */
import type { EncryptedWeights } from "../pll/encrypted-weights.ts";

/** What is left of a key, as the provider says. */
export interface KeyLeft {
  readonly keyId: Uint8Array;
  /** Vectors left of the group that has fewest. */
  readonly vectorsLeft: number;
}

/** A key as it comes from the provider, or from where it was kept. */
export interface FetchedKey {
  readonly id: Uint8Array;
  /** Vectors left of the group that has fewest. */
  readonly vectorsLeft: number;
  /** By group. */
  readonly groups: readonly EncryptedWeights[];
  /** The provider's, over all of them; it has been checked. */
  readonly signature: Uint8Array;
}

/** Where keys come from. */
export interface KeySource {
  /** @throws TacetError what the provider refuses with */
  fetchKey(): Promise<FetchedKey>;
  /** Keys that were kept from before and are still good. */
  keptKeys?(): AsyncIterable<FetchedKey>;
  /** Tells who has keys, for when the provider says again what is left of them. */
  holdKeys?(holder: KeyHolder): void;
  /** The key will not be used any more. */
  forgetKey?(id: Uint8Array): void;
}

/** Who has keys in hand. */
export interface KeyHolder {
  readonly heldIds: readonly Uint8Array[];
  /** What the provider says is left; keys that are missing are no good any more. */
  correct(left: readonly KeyLeft[]): void;
}
