/** The security that createParameters counts and demands: of queries, of unused keys and of worn ones. */
import { describe, expect, it } from "vitest";
import { insecureParameters } from "./insecure-parameters.ts";
import { estimateLwe } from "./lattice-estimate.ts";
import { attacksOn, differenceAfter, keyAfter, readCoordinates, securityOf } from "./parameter-security.ts";
import { uniformStddev } from "./parameter-set.ts";
import { createParameters, DEFAULT_PARAMETERS, type ParametersLiteral } from "./parameters.ts";

const literal: ParametersLiteral = { ...DEFAULT_PARAMETERS };

describe("securityOf", () => {
  it("knows the default set, once", () => {
    const security = securityOf(DEFAULT_PARAMETERS);
    const bits = Object.entries(security).map(([name, e]) => [name, Math.round(e.standardBits)]);
    expect(Object.fromEntries(bits)).toEqual({
      user: 232,
      freshKey: 222,
      wornKey: 139,
      wornKeys: 136,
      keyDifference: 144,
      keyDifferences: 139,
    });
    expect(securityOf(DEFAULT_PARAMETERS)).toBe(security);
  });

  it("counts 16 vectors more than a key answers", () => {
    const { wornKey, wornKeys, keyDifference, keyDifferences } = securityOf(DEFAULT_PARAMETERS);
    const vectors = DEFAULT_PARAMETERS.vectorsPerKey + 16;
    expect(wornKey).toEqual(keyAfter(DEFAULT_PARAMETERS, vectors));
    expect(wornKeys).toEqual(keyAfter(DEFAULT_PARAMETERS, vectors, 30));
    expect(keyDifference).toEqual(differenceAfter(DEFAULT_PARAMETERS, vectors));
    expect(keyDifferences).toEqual(differenceAfter(DEFAULT_PARAMETERS, vectors, 30));
  });

  it("takes the difference of two keys as one LWE instance that is wider by the square root of 2", () => {
    const p = DEFAULT_PARAMETERS;
    const wide = Math.SQRT2 * uniformStddev(7);
    const lwe = { dimension: 1456 - 512, logQ: 32, secretStddev: wide, errorStddev: wide };
    expect(differenceAfter(p, 256)).toEqual(estimateLwe({ ...lwe, samples: Number.POSITIVE_INFINITY }));
    expect(securityOf(p).keyDifference.coreBits).toBeGreaterThan(securityOf(p).wornKey.coreBits);
  });

  it("holds worn keys and their differences to 2^30 keys of one W, which cost some 3 and 5 bits", () => {
    const p = DEFAULT_PARAMETERS;
    const lost = (estimate: typeof keyAfter, one: number) =>
      estimate(p, 256, one).standardBits - estimate(p, 256, 30).standardBits;
    expect(lost(keyAfter, 0)).toBeGreaterThan(2.5);
    expect(lost(keyAfter, 0)).toBeLessThan(4.3);
    expect(lost(differenceAfter, 1)).toBeGreaterThan(4);
    expect(lost(differenceAfter, 1)).toBeLessThan(6);
  });

  it("is the cheaper of both attacks for every instance", () => {
    const security = securityOf(DEFAULT_PARAMETERS);
    for (const [name, { best, primal, dual }] of Object.entries(attacksOn(DEFAULT_PARAMETERS))) {
      expect(best).toEqual(security[name as keyof typeof security]);
      expect(best.coreBits).toBe(Math.min(primal.coreBits, dual.coreBits));
    }
  });
});

describe("readCoordinates", () => {
  it("is Q·b0 over the smallest of the three entropies, rounded up", () => {
    const read = (changes: Partial<ParametersLiteral>, vectors: number) =>
      readCoordinates(insecureParameters(changes), vectors);
    expect(read({}, 0)).toBe(0);
    expect(read({}, 256)).toBe(512);
    expect(read({ replyBits: 13 }, 3)).toBe(6); // 39/7
    expect(read({ secretBits: 5 }, 256)).toBe(717); // 3584/5
    expect(read({ weightErrorBits: 6 }, 256)).toBe(598);
    expect(read({ hintErrorBits: 4 }, 256)).toBe(896);
    expect(read({ secretBits: 8, weightErrorBits: 9 }, 256)).toBe(448);
  });

  it("wears a key down with every vector, to nothing in the end", () => {
    const levels = [0, 64, 128, 256, 272, 512].map((q) => keyAfter(DEFAULT_PARAMETERS, q).standardBits);
    expect(levels.toSorted((a, b) => b - a)).toEqual(levels);
    expect(levels[0]).toBe(securityOf(DEFAULT_PARAMETERS).freshKey.standardBits);
    // Twice the vectors: the count must not be lost.
    expect(levels.at(-1)).toBeLessThan(64);
    expect(keyAfter(DEFAULT_PARAMETERS, 100_000).coreBits).toBeLessThan(13);
  });
});

describe("createParameters refuses", () => {
  const refused: [Partial<ParametersLiteral>, RegExp][] = [
    [{ keyLength: 1424 }, /a worn key, one of 2\^30, has 130\.\d bits, at least 132/],
    [{ vectorsPerKey: 256 }, /a worn key, one of 2\^30, has 130\.\d bits, at least 132/],
    [{ vectorsPerKey: 272 }, /a worn key, one of 2\^30, has 12\d\.\d bits, at least 132/],
    [{ vectorsPerKey: 512 }, /a worn key, one of 2\^30, has/],
    [{ replyBits: 15 }, /a worn key, one of 2\^30, has/],
    [{ secretBits: 6 }, /a worn key, one of 2\^30, has/],
    [{ weightErrorBits: 6 }, /a worn key, one of 2\^30, has/],
    [{ hintErrorBits: 6 }, /a worn key, one of 2\^30, has/],
    [{ keyLength: 800, vectorsPerKey: 1 }, /an unused key has/],
  ];
  it.each(refused)("%j", (changes, message) => {
    expect(() => createParameters({ ...literal, ...changes })).toThrow(message);
  });

  it("no set that is as good: fewer vectors, fewer bits, a longer key, wider secrets", () => {
    for (const changes of [
      { vectorsPerKey: 128 },
      { replyBits: 13 },
      { keyLength: 1472 },
      { secretBits: 8, weightErrorBits: 8, hintErrorBits: 11 },
      { keyLength: 1440, vectorsPerKey: 240 },
    ]) {
      expect(() => createParameters({ ...literal, ...changes })).not.toThrow();
    }
  });
});
