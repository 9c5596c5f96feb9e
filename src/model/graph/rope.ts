/** Rotary position embedding: the angles, with the scalings that stretch a trained context. */

/** How frequencies are changed before use. */
export type RopeScaling =
  | { readonly kind: "none" }
  | { readonly kind: "linear"; readonly factor: number }
  /** Only the first `pairs` are turned. */
  | { readonly kind: "proportional"; readonly factor: number; readonly pairs: number }
  | {
      /** Nothing is changed in a trained context; a longer one would turn all its tokens otherwise with each more. */
      readonly kind: "dynamic";
      readonly trainedContext: number;
    }
  | {
      readonly kind: "llama3";
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      /** L, in tokens: the context before it was stretched. */
      readonly originalContext: number;
    }
  | {
      readonly kind: "yarn";
      readonly factor: number;
      /** Turns in the original context: pairs with more stay as they are. */
      readonly fastTurns: number;
      /** Pairs with fewer are slowed by the whole factor. */
      readonly slowTurns: number;
      readonly originalContext: number;
      /** Whether the range between the two is rounded outwards to whole pairs. */
      readonly rounded: boolean;
      /** What cos and sin are multiplied by. */
      readonly attentionFactor: number;
    }
  | {
      readonly kind: "longrope";
      /** One factor for each pair, in contexts of up to `originalContext` tokens. */
      readonly short: readonly number[];
      /** The same in longer contexts, for all of their tokens. */
      readonly long: readonly number[];
      readonly originalContext: number;
      readonly attentionFactor: number;
    };

export interface Rope {
  readonly theta: number;
  readonly scaling: RopeScaling;
}

/** A rope has one set of angles, or two: longrope turns all tokens otherwise once the context is a long one. */
export type ContextKind = "short" | "long";

/**
 * w_i = theta^(-2i/d) for i < d/2, in radians per position, scaled:
 * linear: w / factor; proportional: the same for i < pairs, else 0; llama3: w·(t + (1 - t)/factor), t = clamp((L·w/2π - low)/(high - low), 0, 1);
 * yarn: the same form with t = 1 - clamp((i - first)/(last - first), 0, 1), where pairs `first` and `last` turn
 * fastTurns and slowTurns times in L; longrope: w / factor_i.
 * Source: transformers, modeling_rope_utils.py.
 *
 * @param d entries of a head that are turned
 * @throws RangeError if longrope has another number of factors than pairs
 */
export function ropeFrequencies(
  { theta, scaling }: Rope,
  d: number,
  context: ContextKind = "short",
): Float64Array {
  const scale = pairScale(theta, scaling, d, context);
  return Float64Array.from({ length: d / 2 }, (_, i) => {
    const w = theta ** ((-2 * i) / d);
    return w * scale(i, w);
  });
}

/** What a pair's frequency w_i is multiplied by. */
function pairScale(
  theta: number,
  scaling: RopeScaling,
  d: number,
  context: ContextKind,
): (i: number, w: number) => number {
  switch (scaling.kind) {
    case "none":
    case "dynamic":
      return () => 1;
    case "linear":
      return () => 1 / scaling.factor;
    case "proportional":
      return (i) => (i < scaling.pairs ? 1 / scaling.factor : 0);
    case "llama3": {
      const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalContext } = scaling;
      return (_, w) => {
        const t = clamp(((originalContext * w) / (2 * Math.PI) - low) / (high - low));
        return t + (1 - t) / factor;
      };
    }
    case "yarn": {
      const { factor, fastTurns, slowTurns, originalContext, rounded } = scaling;
      // The pair, as a fraction, that turns so many times in the original context.
      const pairOf = (turns: number): number =>
        (d * Math.log(originalContext / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
      const [from, to] = [pairOf(fastTurns), pairOf(slowTurns)];
      const first = Math.max(0, rounded ? Math.floor(from) : from);
      const last = Math.min(d - 1, rounded ? Math.ceil(to) : to);
      const width = first === last ? 0.001 : last - first;
      return (i) => {
        const t = 1 - clamp((i - first) / width);
        return t + (1 - t) / factor;
      };
    }
    case "longrope": {
      const factors = scaling[context];
      if (factors.length !== d / 2) throw new RangeError(`${factors.length} factors for ${d / 2} pairs`);
      return (i) => 1 / factors[i];
    }
  }
}

/**
 * cos and sin of position·w_i, times the attention factor, each (positions, columns) row-major; columns from d/2 on
 * turn nothing.
 */
export function ropeTables(
  rope: Rope,
  d: number,
  positions: number,
  columns: number = d / 2,
  context: ContextKind = "short",
): { readonly cos: Float32Array; readonly sin: Float32Array } {
  const frequencies = ropeFrequencies(rope, d, context);
  const factor = "attentionFactor" in rope.scaling ? rope.scaling.attentionFactor : 1;
  const cos = new Float32Array(positions * columns).fill(1);
  const sin = new Float32Array(positions * columns);
  for (let position = 0; position < positions; position++) {
    for (let i = 0, at = position * columns; i < frequencies.length; i++, at++) {
      // The reference takes the product in float32, and so do we: at large positions it shows.
      const angle = Math.fround(position * Math.fround(frequencies[i]));
      cos[at] = Math.cos(angle) * factor;
      sin[at] = Math.sin(angle) * factor;
    }
  }
  return { cos, sin };
}

/** The longest context whose tokens all turn by one table, and what is beyond it; undefined: any. */
export function ropeLimit({
  scaling,
}: Rope): { readonly tokens: number; readonly reason: string } | undefined {
  if (scaling.kind === "dynamic") {
    const reason = "with rope_type dynamic each token beyond would turn all the others again";
    return { tokens: scaling.trainedContext, reason };
  }
  return undefined;
}

/** Contexts of more tokens have all of them turned by the other table. */
export function longFrom({ scaling }: Rope): number {
  return scaling.kind === "longrope" ? scaling.originalContext : Number.POSITIVE_INFINITY;
}

function clamp(value: number): number {
  return Math.min(1, Math.max(0, value));
}
