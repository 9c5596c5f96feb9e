/** Scores that fall with the distance (ALiBi). */

import type { PassWriter } from "../modules/pass-writer.ts";
import type { Value } from "../onnx-graph.ts";
import { reshape } from "./reshape.ts";

export interface LinearBias {
  /** For each head. */
  readonly slopes: readonly number[];
  /**
   * Slopes and their products with key positions are rounded to BF16, and then multiplied by this number (Falcon). What
   * is left is no line: near the start it has every step, further out steps of several.
   */
  readonly roundedTimes?: number;
}

/** For query position i and key position j slope_h·(j - i), or what rounding leaves of it: (1, heads, tokens, total) */
export function linearBias(pass: PassWriter, { slopes, roundedTimes }: LinearBias): Value {
  if (roundedTimes !== undefined) return roundedBias(pass, slopes, roundedTimes);
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

/** b_h(j) - b_h(i), b_h(j) = times·bf16(bf16(slope_h)·j): the softmax takes away what all keys have in common. */
function roundedBias(pass: PassWriter, slopes: readonly number[], times: number): Value {
  return pass.onceInGraph(`rounded bias ${slopes.join()} ${times}`, () => {
    const { builder, given } = pass;
    const heads = slopes.length;
    const table = new Float32Array(heads * given.maxPositions);
    for (const [head, slope] of slopes.entries()) {
      const rounded = roundBf16(slope);
      for (let position = 0; position < given.maxPositions; position++)
        table[head * given.maxPositions + position] = times * roundBf16(rounded * position);
    }
    const biases = builder.graph.constant([1, heads, given.maxPositions], table);
    const look = (positions: Value, size: string): Value =>
      builder.node("Gather", [biases, reshape(builder, positions, [size])], [{ dims: [1, heads, size] }], {
        attributes: { axis: 2 },
      })[0];
    const keys = reshape(builder, look(pass.allPositions(), "total"), [1, heads, 1, "total"]);
    const queries = reshape(builder, look(pass.positions(), "tokens"), [1, heads, "tokens", 1]);
    return builder.node("Sub", [keys, queries], [{ dims: [1, heads, "tokens", "total"] }])[0];
  });
}

/** The nearest number that BF16 has, ties to even. */
function roundBf16(value: number): number {
  const word = new Uint32Array(Float32Array.of(value).buffer);
  word[0] = (word[0] + 0x7fff + ((word[0] >>> 16) & 1)) & 0xffff0000;
  return new Float32Array(word.buffer)[0];
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
