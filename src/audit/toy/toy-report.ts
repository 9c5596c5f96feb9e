/**
 * The lattice attacks end to end, at sizes that a laptop breaks: what the estimates of the real sizes stand on.
 *
 * | what | expected |
 * |---|---|
 * | hint without padding | broken |
 * | the same row with padding | not broken |
 * | with padding, P known (stripped by queries) | broken |
 * | two versions, one P for both | the difference of the weights comes out |
 * | two versions, fresh P | not broken |
 * | 48 weights, the real σ_E, no padding | broken |
 */
import type { RandomSource } from "../../ring/random-source.ts";
import type { SmallLwe } from "./lattice-attack.ts";
import {
  brokenShare,
  paddedLwe,
  rowTimes,
  TOY_PARAMETERS,
  TOY_REAL_ERROR,
  TOY_WEIGHT_STDDEV,
  TOY_WIDTHS,
  type ToyLayer,
  toyLayer,
  toyWeights,
  unpaddedLwe,
} from "./toy-hint.ts";

export interface ToyRow {
  readonly what: string;
  /** LWE dimension of the instance. */
  readonly dimension: number;
  /** Share of the weights that lattice reduction found. */
  readonly found: number;
  /** Whether it should. */
  readonly expected: boolean;
}

/**
 * A row after the other: each takes seconds, and whoever runs them may do something else in between.
 *
 * @param large also the 48-weight instance, some ten seconds more
 */
export function* toyRows(random: RandomSource, large: boolean): Generator<ToyRow, void, void> {
  const n = TOY_WIDTHS.small;
  const { ringDegree, hintErrorStddev: sigma } = TOY_PARAMETERS;
  const layer = toyLayer(n, random);
  const row = (what: string, lwe: SmallLwe, weights: Int32Array, expected: boolean): ToyRow => ({
    what,
    dimension: lwe.dimension,
    found: brokenShare(lwe, weights),
    expected,
  });

  const bare = unpaddedLwe(layer, layer.unpadded, sigma, TOY_WEIGHT_STDDEV);
  yield row("hint without padding", bare, layer.weights, true);
  const padded = paddedLwe(layer);
  yield row("hint with padding", padded, layer.weights, false);
  const stripped = subtract(layer.hint, rowTimes(layer.padding, layer.pad, ringDegree));
  const opened = unpaddedLwe(layer, stripped, sigma, TOY_WEIGHT_STDDEV);
  yield row("with padding, P stripped", opened, layer.weights, true);
  for (const fresh of [false, true]) {
    const next = update(layer, random, fresh);
    const change = next.weights.map((weight, i) => weight - layer.weights[i]);
    const words = subtract(next.hint, layer.hint);
    // P_2 − P_1 is unknown where both are fresh: then the instance is the padded one.
    const lwe = fresh
      ? { ...padded, words }
      : unpaddedLwe(layer, words, Math.SQRT2 * sigma, TOY_WEIGHT_STDDEV / 8);
    yield row(fresh ? "two versions, fresh P" : "two versions, one P for both", lwe, change, !fresh);
  }
  if (large) {
    const wide = toyLayer(TOY_WIDTHS.realError, random, {}, TOY_REAL_ERROR);
    const lwe = unpaddedLwe(wide, wide.unpadded, TOY_REAL_ERROR.hintErrorStddev, TOY_WEIGHT_STDDEV);
    yield row("48 weights, real error, no padding", lwe, wide.weights, true);
  }
}

/** The next version of an adapter: weights a little changed, the same public elements. */
function update(layer: ToyLayer, random: RandomSource, freshPadding: boolean): ToyLayer {
  const change = toyWeights(layer.n, random);
  return toyLayer(layer.n, random, {
    weights: layer.weights.map((weight, i) => weight + Math.round(change[i] / 8)),
    elements: layer,
    ...(freshPadding ? {} : { padding: layer.padding }),
  });
}

function subtract(a: Uint32Array, b: Uint32Array): Uint32Array {
  return a.map((word, i) => word - b[i]);
}
