import { describe, expect, it } from "vitest";
import type { AdaptedGroup } from "../model/delta-source.ts";
import { splitLora } from "../pll/lora-split.ts";
import { predictedRelativeError } from "../pll/noise.ts";
import { DEFAULT_PARAMETERS } from "../rlwe/parameters.ts";
import { gaussians } from "./random-numbers.ts";
import { Recorder, rowsOfDeltas } from "./recorder.ts";
import { SEEDED_MODULE, seededAdapter, seededSource } from "./seeded-adapter.ts";
import { SimulatedLayers } from "./simulated-layers.ts";

const N = 256;
const TOKENS = 48;
const { modules } = seededAdapter(N, 8, 1);
const pair = modules.get(SEEDED_MODULE)!;
const groups: AdaptedGroup[] = [{ layer: 0, modules: [SEEDED_MODULE], inFeatures: N, outFeatures: [N] }];
const random = seededSource(3);
const x = Float32Array.from(gaussians(random, TOKENS * N));

/** scale·B·A·x in float64. */
function exactDeltas(): Float64Array {
  const out = new Float64Array(TOKENS * N);
  for (let t = 0; t < TOKENS; t++) {
    for (let l = 0; l < pair.rank; l++) {
      let hidden = 0;
      for (let j = 0; j < N; j++) hidden += pair.a[l * N + j] * x[t * N + j];
      for (let o = 0; o < N; o++) out[t * N + o] += pair.scale * pair.b[o * pair.rank + l] * hidden;
    }
  }
  return out;
}

/** log2 of the relative error of the deltas. */
async function errorBits(weightErrorBits: number, replyBits: number): Promise<number> {
  const precision = { weightErrorBits, replyBits };
  const layers = new SimulatedLayers(DEFAULT_PARAMETERS, { groups, modules }, precision, random);
  const [delta] = await layers.begin(0, x, TOKENS).wait();
  const exact = exactDeltas();
  const error = exact.reduce((sum, value, i) => sum + (delta[i] - value) ** 2, 0);
  const size = exact.reduce((sum, value) => sum + value ** 2, 0);
  return Math.log2(error / size) / 2;
}

describe("simulated layers", () => {
  it("have the error that docs/parameters.md predicts of the real ones", async () => {
    const predicted = Math.log2(predictedRelativeError(DEFAULT_PARAMETERS, N));
    expect(Math.abs((await errorBits(0, 0)) - predicted)).toBeLessThan(0.5);
  });

  it("lose a bit with each bit of b0 or of E, once that is the largest error", async () => {
    const [b0, less] = [await errorBits(0, -5), await errorBits(0, -7)];
    expect(Math.abs(less - b0 - 2)).toBeLessThan(0.5);
    const [e, wider] = [await errorBits(4, 0), await errorBits(6, 0)];
    expect(Math.abs(wider - e - 2)).toBeLessThan(0.5);
  });
});

describe("recorder", () => {
  it("keeps what passes, and B′ᵀ takes deltas back to rows", async () => {
    const split = splitLora(pair, random);
    const basis = Float32Array.from(split.publicBasis);
    const y = Float32Array.from(gaussians(random, 2 * 8));
    const delta = new Float32Array(2 * N);
    for (let t = 0; t < 2; t++) {
      for (let o = 0; o < N; o++) {
        for (let r = 0; r < 8; r++) delta[t * N + o] += basis[o * 8 + r] * y[t * 8 + r];
      }
    }
    const recorder = new Recorder({ groups, begin: () => ({ wait: async () => [delta] }) }, [0]);
    const input = x.slice(0, 2 * N);
    await recorder.begin(0, input, 2).wait();
    input.fill(0);
    const kept = recorder.recorded(0);
    expect(kept.tokens).toBe(2);
    expect(kept.x).toEqual(x.slice(0, 2 * N));
    const rows = rowsOfDeltas([basis], [{ outFeatures: N, rows: 8 }], kept.deltas, kept.tokens);
    for (const [i, value] of rows.entries()) expect(value).toBeCloseTo(y[i], 4);
    expect(() => recorder.recorded(1)).toThrow(RangeError);
  });
});
