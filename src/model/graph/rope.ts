/** Rotary position embedding: the angles, with the scalings that stretch a trained context. */

/** How frequencies are changed before use. */
export type RopeScaling =
  | { readonly kind: "none" }
  | { readonly kind: "linear"; readonly factor: number }
  /** Only the first `pairs` are turned. */
  | { readonly kind: "proportional"; readonly factor: number; readonly pairs: number }
  | {
      readonly kind: "llama3";
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      /** L, in tokens: the context before it was stretched. */
      readonly originalContext: number;
    };

export interface Rope {
  readonly theta: number;
  readonly scaling: RopeScaling;
}

/**
 * w_i = theta^(-2i/d) for i < d/2, in radians per position, scaled:
 * linear: w / factor; proportional: the same for i < pairs, else 0; llama3: w·(t + (1 - t)/factor), t = clamp((L·w/2π - low)/(high - low), 0, 1).
 * Source: transformers, modeling_rope_utils.py.
 *
 * @param d entries of a head that are turned
 */
export function ropeFrequencies({ theta, scaling }: Rope, d: number): Float64Array {
  return Float64Array.from({ length: d / 2 }, (_, i) => {
    const w = theta ** ((-2 * i) / d);
    if (scaling.kind === "none") return w;
    if (scaling.kind === "linear") return w / scaling.factor;
    if (scaling.kind === "proportional") return i < scaling.pairs ? w / scaling.factor : 0;
    const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalContext } = scaling;
    const smooth = ((originalContext * w) / (2 * Math.PI) - low) / (high - low);
    const t = Math.min(1, Math.max(0, smooth));
    return w * (t + (1 - t) / factor);
  });
}

/** cos and sin of position·w_i, each (positions, columns) row-major; columns from d/2 on turn nothing. */
export function ropeTables(
  rope: Rope,
  d: number,
  positions: number,
  columns: number = d / 2,
): { readonly cos: Float32Array; readonly sin: Float32Array } {
  const frequencies = ropeFrequencies(rope, d);
  const cos = new Float32Array(positions * columns).fill(1);
  const sin = new Float32Array(positions * columns);
  for (let position = 0; position < positions; position++) {
    for (let i = 0, at = position * columns; i < frequencies.length; i++, at++) {
      // The reference takes the product in float32, and so do we: at large positions it shows.
      const angle = Math.fround(position * Math.fround(frequencies[i]));
      cos[at] = Math.cos(angle);
      sin[at] = Math.sin(angle);
    }
  }
  return { cos, sin };
}
