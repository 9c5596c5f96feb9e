/** Scores that fall with the distance (ALiBi). */

import type { PassWriter } from "../modules/pass-writer.ts";
import type { Value } from "../onnx-graph.ts";
import { reshape } from "./reshape.ts";

/** slope_h·(j - i) for query position i and key position j: (1, heads, tokens, total) */
export function linearBias(pass: PassWriter, slopes: readonly number[]): Value {
  return pass.onceInGraph(`bias ${slopes.join()}`, () => {
    const { builder } = pass;
    const distance = builder.node(
      "Sub",
      [
        reshape(builder, pass.allPositions(), [1, 1, 1, "total"]),
        reshape(builder, pass.positions(), [1, 1, "tokens", 1]),
      ],
      [{ dims: [1, 1, "tokens", "total"], type: "int32" }],
    )[0];
    const [real] = builder.node("Cast", [distance], [{ dims: distance.dims }], { attributes: { to: 1 } });
    const factors = builder.graph.constant([1, slopes.length, 1, 1], Float32Array.from(slopes));
    return builder.node("Mul", [real, factors], [{ dims: [1, slopes.length, "tokens", "total"] }])[0];
  });
}

/**
 * 2^(-8i/n) for head i = 1 … n, n a power of two; for other numbers those of the next lower power, and then every
 * other one of twice as many. Source: transformers, models/bloom/modeling_bloom.py.
 */
export function linearBiasSlopes(heads: number): number[] {
  const whole = 2 ** Math.floor(Math.log2(heads));
  const slope = (n: number, i: number): number => 2 ** ((-8 * i) / n);
  const first = Array.from({ length: whole }, (_, i) => slope(whole, i + 1));
  const rest = Array.from({ length: heads - whole }, (_, i) => slope(2 * whole, 2 * i + 1));
  return [...first, ...rest];
}
