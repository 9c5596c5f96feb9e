/** A that was drawn as PEFT draws it is recognised, moved A less and less, and A of its own not at all. */
import { describe, expect, it } from "vitest";
import { gaussianSource } from "../../test/support/pll-layer.ts";
import { type InitializedMatrix, initializationSigns } from "./initialization.ts";
import { MersenneTwister } from "./mersenne-twister.ts";

const [RANK, IN, OUT] = [8, 512, 640];
const MODULES = ["q", "k", "v"];

/** LoRA matrices as PEFT makes them under a seed: each Linear draws itself, then A is drawn again; B is zero. */
function peft(seed: number, drift: number, before = 0): InitializedMatrix[] {
  const twister = new MersenneTwister(seed);
  const gaussian = gaussianSource(seed + 1);
  const bound = 1 / Math.sqrt(IN);
  for (let i = 0; i < before; i++) twister.word();
  return MODULES.map((name) => {
    for (let i = 0; i < RANK * (IN + OUT); i++) twister.word();
    const a = Float32Array.from(
      { length: RANK * IN },
      () => (2 * twister.uniform() - 1) * bound + (drift * bound * gaussian()) / Math.sqrt(3),
    );
    return { name, rank: RANK, inFeatures: IN, outFeatures: OUT, a };
  });
}
const kinds = (matrices: InitializedMatrix[], options = {}) =>
  initializationSigns(matrices, { seeds: [1, 42], before: 1 << 16, ...options }).map(({ kind }) => kind);

describe("MersenneTwister", () => {
  it("is the one of everybody else, and torch.rand's", () => {
    const reference = new MersenneTwister(5489);
    for (let i = 1; i < 10_000; i++) reference.word();
    expect(reference.word()).toBe(4123659995); // the 10,000th of C++'s std::mt19937
    // torch.manual_seed(s); torch.rand(3)
    const rand = (seed: number) => {
      const twister = new MersenneTwister(seed);
      return [0, 0, 0].map(() => Number(twister.uniform().toFixed(4)));
    };
    expect(rand(0)).toEqual([0.4963, 0.7682, 0.0885]);
    expect(rand(42)).toEqual([0.8823, 0.915, 0.3829]);
  });
});

describe("initializationSigns", () => {
  it("finds the seed at any place of the stream, and that A has not moved", () => {
    for (const before of [0, 12_345]) {
      const signs = initializationSigns(peft(42, 0.05, before), { seeds: [1, 42], before: 1 << 16 });
      expect(signs).toMatchObject([
        { kind: "seed", seed: 42, module: "q" },
        { kind: "unmoved", distribution: "uniform" },
      ]);
      expect((signs[0] as { correlation: number }).correlation).toBeGreaterThan(0.99);
    }
  });

  it("knows the seed of scripts that set none", () => {
    const [sign] = initializationSigns(peft(67280421310721, 0.05), { seeds: [], before: 1 << 16 });
    expect(sign).toMatchObject({ kind: "seed", seed: "default" });
  });

  it("finds the seed of an A that has moved as far as it began, when its shape says nothing any more", () => {
    expect(kinds(peft(42, 0.8))).toEqual(["seed"]);
  });

  it("says nothing of A that moved much further, of other seeds, or of places that are not looked at", () => {
    expect(kinds(peft(42, 3.5))).toEqual([]);
    expect(kinds(peft(43, 0.8))).toEqual([]);
    expect(kinds(peft(42, 0.8, 1 << 17))).toEqual([]);
  });

  it("sees a Gaussian initialisation that has not moved, and not another Gaussian", () => {
    const gaussian = gaussianSource(9);
    const of = (deviation: number) =>
      MODULES.map((name) => ({
        name,
        rank: RANK,
        inFeatures: IN,
        outFeatures: OUT,
        a: Float32Array.from({ length: RANK * IN }, () => deviation * gaussian()),
      }));
    expect(initializationSigns(of(1 / RANK), { seeds: [], before: 1 })).toMatchObject([
      { kind: "unmoved", distribution: "gaussian" },
    ]);
    expect(kinds(of(1.2 / RANK))).toEqual([]);
  });

  it("does not judge what is too small to judge", () => {
    const a = new Float32Array(64);
    expect(kinds([{ name: "m", rank: 2, inFeatures: 32, outFeatures: 32, a }])).toEqual([]);
    expect(initializationSigns([])).toEqual([]);
  });
});
