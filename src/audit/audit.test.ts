/** Each attack on a small layer with the real parameters, held against its formula. */
import { beforeAll, describe, expect, it } from "vitest";
import { auditTarget } from "../../test/support/audit-target.ts";
import type { Attack, AttackContext, AttackResult } from "./attack.ts";
import { amplitude } from "./attacks/amplitude.ts";
import { collusion } from "./attacks/collusion.ts";
import { guessableInit } from "./attacks/guessable-init.ts";
import { lowRank } from "./attacks/low-rank.ts";
import { nearReplay } from "./attacks/near-replay.ts";
import { oneReply } from "./attacks/one-reply.ts";
import { ordinaryPrompts } from "./attacks/ordinary-prompts.ts";
import { packedQueries } from "./attacks/packed-queries.ts";
import { principalQueries } from "./attacks/principal-directions.ts";
import { hintOnly, versionDifference } from "./attacks/public-material.ts";
import { stripPadding } from "./attacks/strip-padding.ts";
import { unitQueries } from "./attacks/unit-queries.ts";
import { auditGroup } from "./audit.ts";

const N = 256;
let context: AttackContext;

beforeAll(async () => {
  ({ context } = await auditTarget(N, { rank: 2 }));
});

const results = new Map<Attack, Promise<readonly AttackResult[]>>();

/** Each attack once. */
function run(attack: Attack): Promise<readonly AttackResult[]> {
  const known = results.get(attack) ?? auditGroup(context, [attack]).then(({ attacks }) => attacks);
  results.set(attack, known);
  return known;
}

describe("ordinary prompts", () => {
  it("white activations leave an error of sqrt(1 - Q/n); uneven ones less in deltas", async () => {
    const [white, uneven] = await run(ordinaryPrompts);
    for (const { queries, weightError, deltaError } of white.points.slice(0, -1)) {
      expect(Math.abs(weightError / Math.sqrt(1 - queries / N) - 1)).toBeLessThan(0.15);
      expect(Math.abs(deltaError / weightError - 1)).toBeLessThan(0.1);
    }
    for (const { weightError, deltaError } of uneven.points)
      expect(deltaError).toBeLessThan(0.9 * weightError);
  });
});

describe("unit queries", () => {
  it("give each weight exactly, also under masks; the error is sqrt(1 - Q/n)", async () => {
    const [{ points, facts }] = await run(unitQueries);
    expect(facts.exactOfAsked).toBe(1);
    expect(facts.maskedExact).toBe(1);
    for (const { queries, weightError } of points.slice(0, -1)) {
      expect(Math.abs(weightError / Math.sqrt(1 - queries / N) - 1)).toBeLessThan(0.15);
    }
  });
});

describe("packed queries", () => {
  it("carry as many weights as b0/h_A says, within 3 %, and nine blocks of ten are right", async () => {
    const [{ facts }] = await run(packedQueries);
    expect(facts.weightsPerQuery / facts.formulaWeightsPerQuery).toBeGreaterThan(0.97);
    expect(facts.weightsPerQuery / facts.formulaWeightsPerQuery).toBeLessThanOrEqual(1);
    expect(facts.blocksRight).toBeGreaterThan(0.7); // 18 blocks
    expect(facts.queries / facts.functionQueries).toBeLessThan(1.06); // the last block is not full
  });
});

describe("sealed output", () => {
  it("is learnt from far fewer queries than rows alone would take", async () => {
    const sealed = await auditTarget(N, { rank: 8, output: "sealed" });
    const [{ facts }] = await lowRank.run(sealed.context);
    expect(facts.exact).toBeGreaterThan(0.999);
    expect(facts.queries).toBeLessThan(0.6 * facts.rowBound);
    expect(await lowRank.run(context)).toEqual([]);
  });
});

describe("stripping P", () => {
  it("costs more queries than the weights, and what is left is the table's estimate", async () => {
    const [{ facts }] = await run(stripPadding);
    expect(facts.paddingRight).toBeGreaterThan(0.95);
    expect(facts.queries / facts.formulaQueries).toBeGreaterThan(1);
    expect(facts.queries / facts.formulaQueries).toBeLessThan(1.12);
    expect(facts.queries).toBeGreaterThan(2 * facts.functionQueries);
    expect(facts.leftCoreBits).toBeLessThan(25);
  });
});

describe("one reply", () => {
  it("gives every weight of a plain layer, and on Tacet no more than guessing", async () => {
    const [plain, partial, tacet] = await run(oneReply);
    expect(plain.facts).toMatchObject({ exact: 1, correct: 1 });
    expect(partial.facts.exact).toBe(1);
    const entries = N * context.view.rows;
    // five standard deviations of a count that guessing would have
    const margin = (5 * Math.sqrt(Math.max(1, tacet.facts.guessing * entries))) / entries;
    expect(tacet.facts.hintDivided).toBeLessThan(tacet.facts.guessing + margin);
    expect(tacet.facts.oneReply).toBeLessThan(tacet.facts.guessing + margin);
  });
});

describe("amplitude", () => {
  it("a weight is exact from 2^(32-b0) to 2^(32-w), and wraps beyond", async () => {
    const [{ facts }] = await run(amplitude);
    expect(facts.exactFrom).toBe(facts.formulaFrom);
    expect(facts.exactTo).toBe(facts.formulaTo);
    expect(facts.wrappedRight).toBe(1);
  });
});

describe("near-replays", () => {
  it("give far fewer bits than fresh queries; the same bytes give none", async () => {
    const [{ facts }] = await run(nearReplay);
    expect(facts.sameReply).toBe(1);
    expect(facts.ditherBits).toBeLessThanOrEqual(facts.freshBitsPerQuery);
    expect(facts.ditherBits).toBeGreaterThan(5); // the dither does narrow it down
    expect(facts.averagingBitsPerQuery).toBeLessThan(0.2); // log2(√64)/64 = 0.05, roughly: two rows
  });
});

describe("principal directions", () => {
  it("make a copy that is good on the activations before the weights are known", async () => {
    const [{ points }] = await run(principalQueries);
    const [prompts] = (await run(ordinaryPrompts)).slice(1);
    for (const [i, { deltaError, weightError }] of points.slice(1, -1).entries()) {
      expect(deltaError).toBeLessThan(0.8 * weightError);
      expect(deltaError).toBeLessThan(prompts.points[i + 1].deltaError);
    }
    // 1/i spectrum: the share beyond Q is ln(n/Q) of ln(n) + 0.58
    const half = points.find(({ queries }) => queries === N / 2)!;
    const expected = Math.sqrt(Math.log(2) / (Math.log(N) + 0.577));
    expect(half.deltaError / expected).toBeGreaterThan(0.8);
    expect(half.deltaError / expected).toBeLessThan(1.35); // directions are estimated from as many samples
  });
});

describe("public material", () => {
  it("looks uniform, alone and differenced", async () => {
    const [hint] = await run(hintOnly);
    expect(hint.facts.standardBits).toBeGreaterThan(128);
    expect(Math.abs(hint.facts.uniformityZ)).toBeLessThan(6);
    const [versions] = await run(versionDifference);
    expect(Math.abs(versions.facts.uniformityZ)).toBeLessThan(6);
    expect(Math.abs(versions.facts.correlationZ)).toBeLessThan(6);
  });
});

describe("guessable initialisation", () => {
  it("a right guess is the whole module after some r queries, a poor one is useless", async () => {
    const [right, near, , useless] = await run(guessableInit);
    expect(right.points[1].weightError).toBeLessThan(0.02);
    expect(near.points.at(-1)!.weightError).toBeLessThan(0.1);
    expect(useless.points.at(-1)!.weightError).toBeGreaterThan(0.5);
  });
});

describe("collusion", () => {
  it("adds up, and no more", async () => {
    const [{ facts, points }] = await run(collusion);
    const [alone] = await run(unitQueries);
    expect(facts.exactOfAsked).toBe(1);
    expect(points.map(({ queries }) => queries)).toEqual(alone.points.map(({ queries }) => queries));
    for (const [i, { weightError }] of points.entries()) {
      expect(weightError).toBeCloseTo(alone.points[i].weightError, 6);
    }
  });
});
