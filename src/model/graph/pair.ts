/** A pair: two adapted places with a residual and a norm between them, asked for in one exchange (run/look-ahead.ts). */

export interface Pair {
  /** Groups of the DeltaSource. */
  readonly first: number;
  readonly second: number;
  /** Of the RMS norm between them: name of g, or with plusOne of g - 1, its length, eps. */
  readonly norm: {
    readonly weight: string;
    readonly plusOne?: boolean;
    readonly width: number;
    readonly epsilon: number;
  };
  readonly names: Readonly<Record<PairValue, string>>;
}

/**
 * x, sum = h + W₁x + b₁ and product = W₂t are made by segments; normed = t, hidden = h', factor = s and delta, what
 * is added to the product, are given to them.
 */
export type PairValue = "x" | "sum" | "normed" | "product" | "hidden" | "factor" | "delta";
