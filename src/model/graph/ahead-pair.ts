/** Two adapted places that are asked together (run/look-ahead.ts), as a graph knows them. */

/** Two groups that are asked together, with the names of the values between the segments. */
export interface AheadPair {
  /** Groups of the DeltaSource. */
  readonly first: number;
  readonly second: number;
  /** Of the norm between them: name of g, its length, eps. */
  readonly norm: { readonly weight: string; readonly width: number; readonly epsilon: number };
  readonly names: Readonly<Record<AheadName, string>>;
}

/**
 * x, sum = h + W₁x + b₁ and product = W₂t are made by segments; normed = t, hidden = h', factor = s and delta, what
 * is added to the product, are given to them.
 */
export type AheadName = "x" | "sum" | "normed" | "product" | "hidden" | "factor" | "delta";
