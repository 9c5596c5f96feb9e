/** Each attack on a small layer with the real parameters, held against its formula. */
import { beforeAll, describe, expect, it } from "vitest";
import { auditTarget } from "../../test/support/audit-target.ts";
import type { Attack, AttackContext } from "./attack.ts";
import { oneReply } from "./attacks/one-reply.ts";
import { ordinaryPrompts } from "./attacks/ordinary-prompts.ts";
import { packedQueries } from "./attacks/packed-queries.ts";
import { stripPadding } from "./attacks/strip-padding.ts";
import { unitQueries } from "./attacks/unit-queries.ts";
import { auditGroup } from "./audit.ts";

const N = 256;
let context: AttackContext;

beforeAll(async () => {
  ({ context } = await auditTarget(N));
});

const run = async (attack: Attack) => (await auditGroup(context, [attack])).attacks;

describe("ordinary prompts", () => {
  it("white activations leave an error of sqrt(1 - Q/n); uneven ones less in deltas", async () => {
    const [white, uneven] = await run(ordinaryPrompts);
    for (const { queries, weightError, deltaError } of white.points.slice(0, -1)) {
      expect(Math.abs(weightError / Math.sqrt(1 - queries / N) - 1)).toBeLessThan(0.1);
      expect(Math.abs(deltaError / weightError - 1)).toBeLessThan(0.1);
    }
    for (const { weightError, deltaError } of uneven.points)
      expect(deltaError).toBeLessThan(0.85 * weightError);
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
    expect(facts.blocksRight).toBeGreaterThan(0.75); // 36 blocks
    expect(facts.queries / facts.functionQueries).toBeLessThan(1.06); // the last block is not full
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
