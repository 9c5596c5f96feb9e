import { describe, expect, it } from "vitest";
import type { BundleManifest } from "../../bundle/manifest.ts";
import { predictedRelativeError } from "../../pll/noise.ts";
import { attacksOn } from "../../rlwe/parameter-security.ts";
import { DEFAULT_PARAMETERS as P } from "../../rlwe/parameters.ts";
import { securityFacts } from "./bundle-facts.ts";

const group = (inFeatures: number) => ({
  layer: 0,
  inFeatures,
  modules: [{ name: "m", outFeatures: 64, rows: 8 }],
});
const manifest = { parameters: P, groups: [group(704), group(256), group(704)] } as unknown as BundleManifest;

describe("securityFacts", () => {
  it("shows the weakest of all worn keys, not one that looks better", () => {
    const { user, freshKey, ...worn } = attacksOn(P);
    const facts = securityFacts(manifest);
    expect(facts.query.standard).toBe(Math.floor(user.best.standardBits));
    expect(facts.key.standard).toBe(Math.floor(freshKey.best.standardBits));
    const weakest = Math.min(...Object.values(worn).map(({ best }) => best.standardBits));
    expect(facts.wornKey.standard).toBe(Math.floor(weakest));
    expect(facts.wornKey.standard).toBeGreaterThanOrEqual(128);
  });

  it("has Q_func once for each width, of weights at the precision of answers", () => {
    const { functionVectors } = securityFacts(manifest);
    expect(functionVectors.map(({ inFeatures }) => inFeatures)).toEqual([256, 704]);
    for (const { inFeatures: n, vectors } of functionVectors) {
      // log2(√(2πe)/√12) bits beside those of the relative error
      const bits =
        Math.log2(Math.sqrt((2 * Math.PI * Math.E) / 12)) - Math.log2(predictedRelativeError(P, n));
      expect(vectors).toBe(Math.round((n * bits) / P.replyBits));
    }
  });
});
