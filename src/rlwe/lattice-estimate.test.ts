/**
 * The estimator against an independent calculation of the same figures and against the published HE standard.
 *
 * The review computed its tables with an independent implementation of the same model, rounded to whole bits; the
 * margins cover that rounding and its slightly different rounding of m and beta.
 */
import { describe, expect, it } from "vitest";
import {
  answeredEntropy,
  estimateAttacks,
  estimateLwe,
  functionQueries,
  logShortestNorm,
  weightEntropy,
} from "./lattice-estimate.ts";

/** Bits by which core and std figures may differ from the review's. */
const MARGIN_BITS = 1.5;
/** The review prints the block size of the primal attack; the dual one, which often wins, needs 2 to 5 less. */
const MARGIN_BETA = 6;

const TERNARY = Math.sqrt(2 / 3);
const CBD21 = Math.sqrt(10.5);
const WIDE = Math.sqrt((512 ** 2 - 1) / 12);
/** Standard deviation of the review's 10-bit weights. */
const WEIGHT = 146;
const ALL = Number.POSITIVE_INFINITY;

const lwe = (dimension: number, secretStddev: number, errorStddev: number, samples = 2048, logQ = 32) =>
  estimateLwe({ dimension, logQ, secretStddev, errorStddev, samples });

function expectWithin(actual: number, expected: number, margin: number) {
  expect(Math.abs(actual - expected), `${actual} against ${expected}`).toBeLessThanOrEqual(margin);
}

describe("published HE standard, ternary secret", () => {
  it.each([
    // N, log q, standard's bits, review's std figure
    [1024, 27, 128, 131.4],
    [2048, 54, 128, 129.7],
    [4096, 109, 128, 127.9],
    [2048, 37, 192, 197],
    [2048, 29, 256, 258],
    [1024, 19, 192, 192],
  ])("N = %d, log q = %d has %d bits", (n, logQ, published, review) => {
    const { standardBits } = lwe(n, TERNARY, 3.19, ALL, logQ);
    expectWithin(standardBits, review, MARGIN_BITS);
    // the model's own error: at most 5 bits above the published level, at most 1 below
    expect(standardBits).toBeGreaterThan(published - 1);
    expect(standardBits).toBeLessThanOrEqual(published + 5);
  });
});

describe("review, main table", () => {
  it.each([
    ["user, n = 256", lwe(2048, TERNARY, CBD21, 1280), 723, 210, 241, 192],
    ["user, n >= 896", lwe(2048, TERNARY, CBD21, 1920), 688, 201, 232, 182],
    ["user, all samples", lwe(2048, TERNARY, CBD21, ALL), 688, 201, 232, 182],
    ["N = 1024, sigma 3.24", lwe(1024, TERNARY, 3.24, ALL), 271, 79, 110, 72],
    ["N = 1024, sigma 32", lwe(1024, TERNARY, 32, ALL), 318, 93, 123, 84],
    ["N = 1024, sigma 128", lwe(1024, TERNARY, 128, ALL), 353, 103, 133, 94],
    ["hint as first proposed", lwe(1024, TERNARY, 128), 353, 103, 133, 94],
    ["hint, recommended", lwe(1024, WIDE, 256), 535, 156, 187, 142],
    ["hint, 896 columns", lwe(896, WIDE, 256), 449, 131, 161, 119],
    ["hint, 896, sigma_P 2^8, sigma_E 2^9", lwe(896, 256, 512), 497, 145, 175, 132],
    ["hint, 768, 2^8", lwe(768, WIDE, 256), 366, 107, 137, 97],
    ["hint, 768, 2^10", lwe(768, WIDE, 1024), 421, 123, 153, 112],
    ["hint, 768, both 2^10", lwe(768, 1024, 1024), 475, 138, 169, 126],
    ["hint, 640, both 2^11", lwe(640, 2048, 2048), 422, 123, 153, 112],
    ["hint, 1280 columns", lwe(1280, WIDE, 256), 710, 207, 238, 188],
  ])("%s", (_, estimate, beta, core, standard, quantum) => {
    expectWithin(estimate.beta, beta, MARGIN_BETA);
    expectWithin(estimate.coreBits, core, MARGIN_BITS);
    expectWithin(estimate.standardBits, standard, MARGIN_BITS);
    expectWithin(estimate.quantumBits, quantum, MARGIN_BITS);
  });
});

/** "core/std" cells. */
const cells = (row: string) => row.split(" ").map((cell) => cell.split("/").map(Number));

describe("review, ternary padding", () => {
  it.each([
    [768, "62/92 65/95 69/99 73/103 78/108 82/112"],
    [896, "77/107 81/111 86/116 91/121 96/126 102/132"],
    [1024, "93/123 98/128 103/133 109/139 115/145 122/152"],
    [1280, "126/156 132/163 138/169 145/176 154/184 162/192"],
    [1536, "159/190 167/198 175/206 184/215 193/224 204/235"],
  ])("n_pad = %d, sigma_E = 2^5 ... 2^10", (n, row) => {
    for (const [i, [core, standard]] of cells(row).entries()) {
      const estimate = lwe(n, TERNARY, 2 ** (5 + i));
      expectWithin(estimate.coreBits, core, MARGIN_BITS);
      expectWithin(estimate.standardBits, standard, MARGIN_BITS);
    }
  });
});

describe("review, no padding", () => {
  const widths = [256, 384, 512, 640, 768, 896, 1536, 2048];
  const row = cells("15/44 36/65 56/86 78/108 100/130 123/153 246/277 373/404");
  it.each(widths.map((n, i) => [n, ...row[i]]))("n = %d", (n, core, standard) => {
    const estimate = lwe(n, WEIGHT, 128);
    expectWithin(estimate.coreBits, core, MARGIN_BITS);
    expectWithin(estimate.standardBits, standard, MARGIN_BITS);
  });

  it("n = 4096 is beyond 1000 bits", () => {
    expect(lwe(4096, WEIGHT, 128).coreBits).toBeGreaterThan(1000);
  });

  it.each([
    [7, [412, 536, 654, 771, 927]],
    [8, [391, 510, 622, 734, 883]],
  ])("largest dimension below 40/60/80/100/128 core bits, sigma_E = 2^%d", (logError, dimensions) => {
    for (const [i, core] of [40, 60, 80, 100, 128].entries()) {
      expectWithin(lwe(dimensions[i], WEIGHT, 2 ** logError).coreBits, core, 1);
    }
  });
});

describe("review, dimensions that queries leave", () => {
  it.each([
    // dimension and core at 2^7, dimension and core at 2^8; 1001 stands for "> 1000"
    [3892, 1001, 4731, 1001],
    [3513, 962, 4342, 1001],
    [2756, 609, 3578, 1001],
    [1998, 359, 2820, 675],
    [1240, 187, 2062, 400],
    [861, 116, 1683, 296],
    [482, 51, 1304, 211],
    [176, 12, 998, 151],
  ])("%d and %d", (narrowDimension, narrowCore, wideDimension, wideCore) => {
    for (const [dimension, error, core] of [
      [narrowDimension, 128, narrowCore],
      [wideDimension, 256, wideCore],
    ]) {
      const { coreBits } = lwe(dimension, WEIGHT, error);
      if (core > 1000) expect(coreBits).toBeGreaterThan(1000);
      else expectWithin(coreBits, core, Math.max(MARGIN_BITS, core / 100)); // 954.7 against 962 at 3513
    }
  });
});

describe("an independent review of the keys", () => {
  const uniform7 = Math.sqrt((4 ** 7 - 1) / 12);
  it.each([
    ["unused", 1440, 1, 188, 219],
    ["512 coordinates read", 928, 1, 106, 136],
    ["the difference of two such", 928, Math.SQRT2, 111, 141],
  ])("%s: dimension %d", (_, dimension, factor, core, standard) => {
    const estimate = lwe(dimension, factor * uniform7, factor * uniform7, ALL);
    expectWithin(estimate.coreBits, core, MARGIN_BITS);
    expectWithin(estimate.standardBits, standard, MARGIN_BITS);
  });
});

/**
 * Std bits that an independent review of the keys computed with its own estimator, by log2 of the number of keys K. A
 * worn key has dimension 912. Of differences any pair counts, K²/2 instances.
 */
describe("many keys of one W, against an independent calculation", () => {
  const uniform7 = Math.sqrt((4 ** 7 - 1) / 12);
  const LOG_KEYS = [0, 10, 20, 30, 40, 60];
  const attacks = (dimension: number, factor: number, logInstances: number) => {
    const stddev = factor * uniform7;
    const key = { dimension, logQ: 32, secretStddev: stddev, errorStddev: stddev, samples: ALL };
    return estimateAttacks({ ...key, logInstances });
  };
  const rows: [string, "primal" | "dual", number, number, number[]][] = [
    ["worn", "dual", 912, 1, [134.1, 133.0, 132.1, 131.5, 130.6, 129.4]],
    ["worn", "primal", 912, 1, [134.1, 132.4, 131.5, 130.6, 129.7, 128.6]],
    ["difference of worn ones", "dual", 912, Math.SQRT2, [139.4, 137.7, 136.0, 134.7, 133.6, 131.8]],
    ["difference of worn ones", "primal", 912, Math.SQRT2, [139.7, 136.8, 135.3, 133.8, 132.7, 130.9]],
    ["unused", "dual", 1456, 1, [222.7, 221.7, 220.9, 220.0, 219.2, 217.8]],
    ["unused", "primal", 1456, 1, [223.3, 220.9, 219.5, 218.6, 217.7, 216.2]],
  ];
  it.each(rows)("%s, %s attack", (_, attack, dimension, factor, standard) => {
    for (const [i, logKeys] of LOG_KEYS.entries()) {
      const logInstances = factor === 1 ? logKeys : Math.max(0, 2 * logKeys - 1);
      expectWithin(attacks(dimension, factor, logInstances)[attack].standardBits, standard[i], 0.8);
    }
  });

  it.each([
    [912, [134.1, 132.4, 131.5, 130.6, 129.7]],
    [944, [139.1, 137.4, 136.2, 135.6, 134.8]],
    [960, [141.5, 140.0, 138.9, 138.0, 137.4]],
    [976, [144.2, 142.4, 141.2, 140.6, 139.8]],
  ])("the cheaper attack in dimension %d", (dimension, standard) => {
    for (const [i, bits] of standard.entries()) {
      const { primal, dual } = attacks(dimension, 1, LOG_KEYS[i]);
      expectWithin(Math.min(primal.standardBits, dual.standardBits), bits, 0.8);
    }
  });

  it("one key is one instance; more never help the defender (both attacks)", () => {
    const one = { dimension: 944, logQ: 32, secretStddev: uniform7, errorStddev: uniform7, samples: ALL };
    expect(attacks(944, 1, 0)).toEqual(estimateAttacks(one));
    for (const attack of ["primal", "dual"] as const) {
      const bits = [0, 1, 5, 10, 20, 40, 80, 120].map((log) => attacks(944, 1, log)[attack].coreBits);
      expect(bits.toSorted((a, b) => b - a)).toEqual(bits);
    }
  });

  it.each([
    // SciPy's chi2.ppf(2^-bits, beta)
    [100, 10, 61.84610033486019],
    [100, 30, 36.827615107744606],
    [360, 10, 282.58232695758693],
    [360, 30, 221.37647108541393],
  ])("the shortest of many projected norms is a quantile of chi²: beta %d, 2^%d", (beta, bits, quantile) => {
    expectWithin(logShortestNorm(beta, bits), Math.log2(quantile / beta) / 2, 0.01);
  });

  it.each([-1, 121, Number.NaN])("refuses logInstances = %d", (logInstances) => {
    expect(() => attacks(944, 1, logInstances)).toThrow(/logInstances/);
  });
});

describe("modular hints", () => {
  const uniform7 = Math.sqrt((4 ** 7 - 1) / 12);
  const key = { dimension: 1440, logQ: 32, secretStddev: uniform7, errorStddev: uniform7, samples: ALL };

  it("of 256 vectors take 19 std bits off a key, as an independent review has it (216 to 197)", () => {
    const plain = estimateAttacks(key).primal.standardBits;
    const hinted = estimateAttacks({ ...key, modularHintBits: 256 * 14 }).primal.standardBits;
    expectWithin(plain - hinted, 19, MARGIN_BITS);
  });

  it("help more the more there are, and less than coordinates for the same bits", () => {
    const levels = [1, 1000, 3584, 7000].map(
      (bits) => estimateAttacks({ ...key, modularHintBits: bits }).primal.coreBits,
    );
    expect(levels.toSorted((a, b) => b - a)).toEqual(levels);
    const read = estimateAttacks({ ...key, dimension: 1440 - 3584 / 7 }).primal.coreBits;
    expect(read).toBeLessThan(levels[2] - 50);
  });
});

describe("queries for the function", () => {
  it("are n·h/b0", () => {
    expectWithin(functionQueries(4096, weightEntropy(WEIGHT), 14), 2702, 1);
  });

  it("h at the precision of answers: half a step's error is what the answers are off", () => {
    // A Gaussian rounded to steps of sqrt(12)·2^-7 standard deviations has an error of 2^-7 of them.
    expect(answeredEntropy(2 ** -7)).toBeCloseTo(weightEntropy(1) + 7 - Math.log2(Math.sqrt(12)), 10);
    expectWithin(answeredEntropy(2 ** -7.7), 8, 0.1);
    expect(answeredEntropy(2 ** -8) - answeredEntropy(2 ** -7)).toBeCloseTo(1, 10);
  });
});

describe("estimateLwe", () => {
  it("moves the right way in every argument", () => {
    const base = { dimension: 1024, logQ: 32, secretStddev: WIDE, errorStddev: 256, samples: 2048 };
    const bits = (change: Partial<typeof base>) => estimateLwe({ ...base, ...change }).coreBits;
    const middle = bits({});
    expect(bits({ dimension: 1100 })).toBeGreaterThan(middle);
    expect(bits({ logQ: 34 })).toBeLessThan(middle);
    expect(bits({ secretStddev: 300 })).toBeGreaterThan(middle);
    expect(bits({ errorStddev: 300 })).toBeGreaterThan(middle);
    expect(bits({ samples: 1100 })).toBeGreaterThan(middle);
    expect(bits({ samples: ALL })).toBe(middle); // 2048 are more than help
  });

  it("spends next to nothing on repeating the sieve: the dual optimum is where one suffices", () => {
    const { beta, coreBits, attack } = lwe(1024, WIDE, 256);
    expect(attack).toBe("dual");
    expectWithin(coreBits, 0.292 * beta, 0.3);
  });

  it.each([
    ["dimension", 0],
    ["errorStddev", -1],
    ["samples", Number.NaN],
  ])("refuses %s = %d", (field, value) => {
    const lweInstance = { dimension: 1024, logQ: 32, secretStddev: 1, errorStddev: 3, samples: 2048 };
    expect(() => estimateLwe({ ...lweInstance, [field]: value })).toThrow(new RegExp(field));
  });
});

describe("primal and dual", () => {
  it("are within some bits of each other, and the cheaper one is the estimate", () => {
    for (const [n, secret, error, samples] of [
      [2048, TERNARY, CBD21, ALL],
      [1024, WIDE, 256, 2048],
      [896, WEIGHT, 256, 2048],
    ]) {
      const instance = { dimension: n, logQ: 32, secretStddev: secret, errorStddev: error, samples };
      const { primal, dual } = estimateAttacks(instance);
      expect([primal.attack, dual.attack]).toEqual(["primal", "dual"]);
      expectWithin(primal.coreBits, dual.coreBits, 5);
      expect(estimateLwe(instance).coreBits).toBe(Math.min(primal.coreBits, dual.coreBits));
    }
    // The review prints the primal attack's block size: 688 and 535.
    const user = { dimension: 2048, logQ: 32, secretStddev: TERNARY, errorStddev: CBD21, samples: ALL };
    expectWithin(estimateAttacks(user).primal.beta, 688, 2);
    const hint = { dimension: 1024, logQ: 32, secretStddev: WIDE, errorStddev: 256, samples: 2048 };
    expectWithin(estimateAttacks(hint).primal.beta, 535, 2);
  });

  it("refuses what is not positive", () => {
    const zero = { dimension: 0, logQ: 32, secretStddev: 1, errorStddev: 1, samples: 1 };
    expect(() => estimateAttacks(zero)).toThrow(/dimension/);
  });
});
