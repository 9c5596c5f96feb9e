/**
 * Hints of toy layers, in a ring that lattice reduction can break: H = W·C [+ P·C_pad] + E mod 2^32, one row. The
 * parameter sets are the `insecure…` ones; N = 32, so that LLL takes seconds. Arithmetic is plain-ring.ts's.
 */
import type { RandomSource } from "../../ring/random-source.ts";
import { insecureParameters } from "../../rlwe/insecure-parameters.ts";
import { type Parameters, paddingStddev } from "../../rlwe/parameters.ts";
import { conjugate, multiplyNegacyclic } from "../plain-ring.ts";
import { gaussians, randomWords, uniformIntegers } from "../random-numbers.ts";
import { attackSmallLwe, type SmallLwe, trimSamples } from "./lattice-attack.ts";

export const TOY_PARAMETERS: Parameters = insecureParameters({
  ringDegree: 32,
  paddingLength: 32,
  hintErrorStddev: 2 ** 15,
});

/** A larger ring with the error of the real set: without padding still in LLL's reach. */
export const TOY_REAL_ERROR: Parameters = insecureParameters({ ringDegree: 64, paddingLength: 32 });

/** Weights of a row in either. */
export const TOY_WIDTHS = { small: 16, realError: 48 };

/** Weights of 10 bits: the standard deviation of the review's tables. */
export const TOY_WEIGHT_STDDEV = 146;

export interface ToyLayer {
  readonly n: number;
  readonly weights: Int32Array;
  readonly padding: Int32Array;
  /** Public elements of the data and of the padding. */
  readonly data: Uint32Array;
  readonly pad: Uint32Array;
  /** H with padding, and what it would be without. */
  readonly hint: Uint32Array;
  readonly unpadded: Uint32Array;
}

export interface ToyChoice {
  readonly weights?: Int32Array;
  readonly padding?: Int32Array;
  /** Public elements of another layer, used again. */
  readonly elements?: Pick<ToyLayer, "data" | "pad">;
}

export function toyWeights(n: number, random: RandomSource): Int32Array {
  return Int32Array.from(gaussians(random, n), (value) => Math.round(TOY_WEIGHT_STDDEV * value));
}

/** A layer with fresh secrets, but for those that are given. */
export function toyLayer(
  n: number,
  random: RandomSource,
  choice: ToyChoice = {},
  p = TOY_PARAMETERS,
): ToyLayer {
  const { ringDegree, paddingLength, paddingLow, paddingHigh, hintErrorStddev } = p;
  const weights = choice.weights ?? toyWeights(n, random);
  const padding = choice.padding ?? uniformIntegers(random, paddingLength, paddingLow, paddingHigh);
  const data = choice.elements?.data ?? randomWords(random, ringDegree);
  const pad = choice.elements?.pad ?? randomWords(random, ringDegree);
  const noise = gaussians(random, ringDegree).map((value) => Math.round(hintErrorStddev * value));
  const unpadded = rowTimes(weights, data, ringDegree);
  const masked = rowTimes(padding, pad, ringDegree);
  const hint = masked.slice();
  for (let j = 0; j < ringDegree; j++) {
    unpadded[j] += noise[j];
    hint[j] += unpadded[j];
  }
  return { n, weights, padding, data, pad, hint, unpadded };
}

/** A row of small integers times the matrix of multiplication by a. */
export function rowTimes(row: Int32Array, a: Uint32Array, degree: number): Uint32Array {
  const full = new Int32Array(degree);
  full.set(row);
  return multiplyNegacyclic(full, conjugate(a));
}

/** The matrix itself, its first `rows` rows: (rows, N). */
function matrixOf(a: Uint32Array, rows: number): Uint32Array {
  const degree = a.length;
  const out = new Uint32Array(rows * degree);
  for (let i = 0; i < rows; i++) {
    const unit = new Int32Array(degree);
    unit[i] = 1;
    out.set(rowTimes(unit, a, degree), i * degree);
  }
  return out;
}

/** LWE with the weights as its secret, for words that hold W·C + E. */
export function unpaddedLwe(
  layer: ToyLayer,
  words: Uint32Array,
  errorStddev: number,
  secretStddev: number,
): SmallLwe {
  const samples = words.length;
  return {
    matrix: matrixOf(layer.data, layer.n),
    dimension: layer.n,
    samples,
    words,
    secretStddev,
    errorStddev,
  };
}

/** LWE with [W | P] as its secret, for the hint as it is published. */
export function paddedLwe(layer: ToyLayer, p = TOY_PARAMETERS): SmallLwe {
  const matrix = new Uint32Array((layer.n + p.paddingLength) * p.ringDegree);
  matrix.set(matrixOf(layer.data, layer.n));
  matrix.set(matrixOf(layer.pad, p.paddingLength), layer.n * p.ringDegree);
  return {
    matrix,
    dimension: layer.n + p.paddingLength,
    samples: p.ringDegree,
    words: layer.hint,
    secretStddev: Math.max(TOY_WEIGHT_STDDEV, paddingStddev(p)),
    errorStddev: p.hintErrorStddev,
  };
}

/** Share of the weights that lattice reduction finds. */
export function brokenShare(lwe: SmallLwe, weights: Int32Array): number {
  const { secret } = attackSmallLwe(trimSamples(lwe));
  if (secret === undefined) return 0;
  return weights.reduce((sum, weight, i) => sum + (secret[i] === weight ? 1 : 0), 0) / weights.length;
}
