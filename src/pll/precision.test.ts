/**
 * Measured error against the predicted one, with the real code: the noise by itself, and the results' relative error at
 * the widths of docs/parameters.md §Precision. Inputs are seeded, so figures are the same in every run.
 */
import { describe, expect, it } from "vitest";
import { rowSecrets } from "../../test/oracle/private-layer.ts";
import { seededRandom } from "../../test/oracle/seeded-random.ts";
import { MEASURED_PRECISION } from "../../test/support/measured-precision.ts";
import {
  evaluate,
  exactProduct,
  gaussianSource,
  makeLayer,
  type TestLayer,
  worstError,
} from "../../test/support/pll-layer.ts";
import { DEFAULT_PARAMETERS as P } from "../rlwe/parameters.ts";
import { predictedNoiseStddev, predictedRelativeError, scaledNorm } from "./noise.ts";

const ROWS = 8;
const VECTORS = 96;
const WIDTHS = [...MEASURED_PRECISION.keys()];

function gaussianLayer(n: number, rows = ROWS) {
  const gaussian = gaussianSource(n);
  const real = Float64Array.from({ length: rows * n }, gaussian);
  const layer = makeLayer(real, rows, n, { random: seededRandom(`precision ${n}`) });
  return { gaussian, real, layer };
}

const rootMeanSquare = (values: readonly number[]) =>
  Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length);

/** Noise of u in integer units: results against the quantised weights, in each vector's own scale. */
function noiseOf(layer: TestLayer, x: Float32Array, y: Float32Array, n: number): number[] {
  const { integers, scales } = layer.quantized;
  const rows = scales.length;
  const exact = exactProduct(integers, x, rows, n, x.length / n);
  return Array.from(y, (value, i) => {
    const t = Math.floor(i / rows);
    const c = scaledNorm(P) / Math.hypot(...x.subarray(t * n, (t + 1) * n));
    return (value / scales[i % rows] - exact[i]) * c;
  });
}

/** Root-mean-square over rows of what is predicted for rows of their norms. */
function predictedNoise(layer: TestLayer, n: number): number {
  const { integers, scales } = layer.quantized;
  return rootMeanSquare(
    Array.from(scales, (_, r) =>
      predictedNoiseStddev(P, Math.hypot(...integers.subarray(r * n, (r + 1) * n))),
    ),
  );
}

const log = (value: number) => Math.log2(value);
const show = (value: number) => log(value).toFixed(2);

describe.each(WIDTHS)("n = %i", (n) => {
  const { gaussian, real, layer } = gaussianLayer(n);
  const x = Float32Array.from({ length: VECTORS * n }, gaussian);
  const y = evaluate(layer, x, VECTORS);

  it("noise is as predicted, and centred", () => {
    const noise = noiseOf(layer, x, y, n);
    const [measured, predicted] = [rootMeanSquare(noise), predictedNoise(layer, n)];
    console.log(`n = ${n}: noise of u measured 2^${show(measured)}, predicted 2^${show(predicted)}`);
    // 768 samples: the standard deviation of the estimate is 0.04 bit.
    expect(Math.abs(log(measured / predicted))).toBeLessThan(0.2);
    const mean = noise.reduce((sum, value) => sum + value, 0) / noise.length;
    expect(Math.abs(mean) / predicted).toBeLessThan(5 / Math.sqrt(noise.length));
  });

  it("relative error is as predicted, within 0.2 bit", () => {
    const exact = exactProduct(real, x, ROWS, n, VECTORS);
    const errors = Array.from(y, (value, i) => value - exact[i]);
    const measured = rootMeanSquare(errors) / rootMeanSquare([...exact]);
    const predicted = predictedRelativeError(P, n);
    console.log(`n = ${n}: relative error measured 2^${show(measured)}, predicted 2^${show(predicted)}`);
    expect(Math.abs(log(measured / predicted))).toBeLessThan(0.2);
    // The figure of docs/parameters.md; engines may differ in the last bit of the inputs' logarithms and cosines.
    expect(Math.abs(log(measured) - MEASURED_PRECISION.get(n)!)).toBeLessThan(0.02);
  });
});

describe("inputs with a direction", () => {
  const n = 4096;
  const { gaussian, real, layer } = gaussianLayer(n);
  const { integers } = layer.quantized;
  const noisy = (x: Float32Array) => {
    const many = Float32Array.from({ length: 24 * n }, (_, i) => x[i % n]);
    return rootMeanSquare(noiseOf(layer, many, evaluate(layer, many, 24), n));
  };
  /** E·x̂ is the same in every query under one key, so the noise of one x is that of one draw of E for each row. */
  const BOUND = 0.7;

  it.each<[string, () => Float32Array]>([
    ["constant", () => new Float32Array(n).fill(0.3)],
    ["of two values", () => Float32Array.from({ length: n }, (_, i) => (i % 2 ? 1 : -0.01))],
    ["one-hot", () => new Float32Array(n).map((_, i) => (i === 77 ? 5 : 0))],
    ["an outlier of 1000", () => Float32Array.from({ length: n }, (_, i) => (i === 9 ? 1000 : gaussian()))],
    ["a row of W", () => Float32Array.from(integers.subarray(n, 2 * n))],
    ["a row of W, negative", () => Float32Array.from(integers.subarray(0, n), (value) => -value)],
    ["ramp", () => Float32Array.from({ length: n }, (_, i) => i)],
  ])("noise is no larger than predicted: %s", (name, make) => {
    const [measured, predicted] = [noisy(make()), predictedNoise(layer, n)];
    console.log(`${name}: noise of u measured 2^${show(measured)}, predicted 2^${show(predicted)}`);
    expect(log(measured / predicted)).toBeLessThan(BOUND);
  });

  it("a row of W has the smallest relative error there is", () => {
    const x = Float32Array.from(integers.subarray(0, n));
    expect(worstError(real, x, evaluate(layer, x, 1), ROWS, n)).toBeLessThan(2 ** -11);
  });

  it("one coordinate a thousand times the others: what the others contribute is off by a tenth", () => {
    const big = 123;
    const x = Float32Array.from({ length: VECTORS * n }, (_, i) => (i % n === big ? 1000 : gaussian()));
    const rest = x.map((value, i) => (i % n === big ? 0 : value));
    const exact = exactProduct(real, x, ROWS, n, VECTORS);
    const ofRest = exactProduct(real, rest, ROWS, n, VECTORS);
    const y = evaluate(layer, x, VECTORS);
    const error = rootMeanSquare(Array.from(y, (value, i) => value - exact[i]));
    const share = error / rootMeanSquare([...ofRest]);
    // The same error of u, but ‖x‖ is (1000² + n)^(1/2)/n^(1/2) of what the others alone have.
    const predicted = predictedRelativeError(P, n) * Math.sqrt(1 + 1000 ** 2 / n);
    console.log(
      `error of the others' part ${(100 * share).toFixed(1)} %, predicted ${(100 * predicted).toFixed(1)} %`,
    );
    expect(Math.abs(log(share / predicted))).toBeLessThan(0.3);
    expect(share).toBeLessThan(0.16);
  });
});

describe("never wraps", () => {
  const n = 18_944;
  const rows = 3;
  const { real, layer } = gaussianLayer(n, rows);
  const { integers } = layer.quantized;
  const errors = Array.from({ length: rows }, (_, r) => rowSecrets(layer.seed, r, n).weightErrors);

  /** x whose x̂ rounds every entry away from zero, in the direction of `target`: the longest x̂ that 1.05 must hold. */
  function roundedAway(target: ArrayLike<number>): Float32Array {
    const goal = scaledNorm(P);
    const at = (factor: number) =>
      Float32Array.from(target, (value) => {
        const rounded = Math.round(value * factor);
        return rounded === 0 ? 0 : rounded - 0.49 * Math.sign(rounded);
      });
    let [low, high] = [0, 1];
    for (let i = 0; i < 60; i++) {
      const middle = (low + high) / 2;
      if (Math.hypot(...at(middle)) < goal) low = middle;
      else high = middle;
    }
    return at(low);
  }

  it("x along W + E of a row, rounded away from zero everywhere, both signs", () => {
    for (let r = 0; r < rows; r++) {
      const target = Float64Array.from(errors[r], (error, i) => error + integers[r * n + i]);
      for (const sign of [1, -1]) {
        const x = roundedAway(target).map((value) => sign * value);
        const query = layer.client.makeQuery(layer.masks.make(1), x);
        const small = layer.kernels.shorts(query.activations, n).slice();
        // The attack is what it claims to be: longer than c·x by half a unit an entry.
        const length = Math.hypot(...small);
        expect(length).toBeGreaterThan(scaledNorm(P) + 40);
        const u = small.reduce((sum, value, i) => sum + value * target[i], 0);
        console.log(`row ${r}: (W + E)·x̂ reaches ${(Math.abs(u) / 2 ** 31).toFixed(4)} of 2^31`);
        expect(Math.abs(u)).toBeGreaterThan(0.93 * 2 ** 31);
        layer.client.applyKey(query, layer.key);
        const reply = layer.provider.answerQuery(layer.secret, query.bytes, 1);
        const y = layer.client.recoverResult(query, reply);
        // A wrap would be an error of 2; rounding away is one of 2 %.
        expect(worstError(real, x, y, rows, n)).toBeLessThan(0.04);
      }
    }
  });

  it("x along W, and along the signs of E", () => {
    for (let r = 0; r < rows; r++) {
      for (const x of [
        Float32Array.from(integers.subarray(r * n, (r + 1) * n)),
        Float32Array.from(errors[r], (error) => Math.sign(error)),
      ]) {
        expect(worstError(real, x, evaluate(layer, x, 1), rows, n)).toBeLessThan(0.03);
      }
    }
  });
});
