/** Each attack on a small layer with the real parameters, held against its formula. */
import { beforeAll, describe, expect, it } from "vitest";
import { auditTarget } from "../../test/support/audit-target.ts";
import { DEFAULT_PARAMETERS as P } from "../rlwe/parameters.ts";
import type { Attack, AttackContext, AttackResult } from "./attack.ts";
import { amplitude } from "./attacks/amplitude.ts";
import { collusion } from "./attacks/collusion.ts";
import { guessableInit } from "./attacks/guessable-init.ts";
import { keyAgain } from "./attacks/key-again.ts";
import { keyErrors } from "./attacks/key-errors.ts";
import { keySecret } from "./attacks/key-secret.ts";
import { nearReplay } from "./attacks/near-replay.ts";
import { oneReply } from "./attacks/one-reply.ts";
import { ordinaryPrompts } from "./attacks/ordinary-prompts.ts";
import { packedQueries } from "./attacks/packed-queries.ts";
import { principalQueries } from "./attacks/principal-directions.ts";
import { keyDifference, unusedKey, versionDifference } from "./attacks/public-material.ts";
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
  it("give each weight to within E, also under masks; the error is sqrt(1 - Q/n)", async () => {
    const [{ points, facts }] = await run(unitQueries);
    expect(facts.knownOfAsked).toBe(1);
    expect(facts.maskedKnown).toBeGreaterThan(0.9);
    expect(facts.errorOfAsked).toBeLessThan(2 ** -9);
    expect(facts.keys).toBe(Math.ceil(N / P.vectorsPerKey));
    for (const { queries, weightError } of points.slice(0, -1)) {
      expect(Math.abs(weightError / Math.sqrt(1 - queries / N) - 1)).toBeLessThan(0.15);
    }
  });
});

describe("packed queries", () => {
  it("give one sum a reply and no more: the error is sqrt(1 - Q/n), and Q_func is not reached", async () => {
    const [{ points, facts }] = await run(packedQueries);
    for (const { queries, weightError } of points.slice(0, -1)) {
      expect(Math.abs(weightError / Math.sqrt(1 - queries / N) - 1)).toBeLessThan(0.15);
    }
    expect(facts.functionalBits).toBeGreaterThan(8);
    expect(facts.functionalBits).toBeLessThan(P.replyBits);
    expect(facts.integersPerQuery).toBeLessThan(1);
    expect(facts.functionQueries).toBeLessThan(N);
  });
});

describe("amplitude", () => {
  it("a weight is known from where the reply is as fine as E to where it wraps, and never closer than E", async () => {
    const [{ facts }] = await run(amplitude);
    expect(facts.knownFrom).toBeLessThanOrEqual(facts.formulaFrom);
    expect(facts.knownFrom).toBeGreaterThan(facts.formulaFrom - 3);
    expect(facts.knownTo).toBe(facts.formulaTo);
    expect(facts.closest).toBeGreaterThan(2 ** P.weightErrorBits / Math.sqrt(12) / 2);
  });
});

describe("replays", () => {
  it("average what is fresh, E only over keys; the same bytes give nothing", async () => {
    const [{ facts }] = await run(nearReplay);
    expect(facts.sameReply).toBe(1);
    // Two rows have few errors to judge by.
    expect(facts.averagingGain).toBeLessThan(3 * facts.formulaGain);
    expect(facts.bitsPerQuery).toBeLessThan(0.2);
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

describe("guessable initialisation", () => {
  it("a right guess is the whole module after some r queries, a poor one is useless", async () => {
    const [right, near, , useless] = await run(guessableInit);
    expect(right.points[1].weightError).toBeLessThan(0.05);
    expect(near.points.at(-1)!.weightError).toBeLessThan(0.1);
    expect(useless.points.at(-1)!.weightError).toBeGreaterThan(0.5);
  });
});

describe("collusion", () => {
  it("adds up, and no more", async () => {
    const [{ facts, points }] = await run(collusion);
    const [alone] = await run(unitQueries);
    expect(facts.knownOfAsked).toBe(1);
    expect(points.map(({ queries }) => queries)).toEqual(alone.points.map(({ queries }) => queries));
    for (const [i, { weightError }] of points.entries()) {
      expect(Math.abs(weightError - alone.points[i].weightError)).toBeLessThan(2e-3);
    }
  });
});

describe("what keys say", () => {
  it("a key alone looks uniform, and so do differences of keys and of versions", async () => {
    const [key] = await run(unusedKey);
    expect(key.facts.standardBits).toBeGreaterThan(128);
    expect(Math.abs(key.facts.weightsZ)).toBeLessThan(6);
    expect(Math.abs(key.facts.hintZ)).toBeLessThan(6);
    const [pair, average] = await run(keyDifference);
    const [versions] = await run(versionDifference);
    const all = [pair.facts.uniformityZ, pair.facts.uniformityAcrossZ, pair.facts.correlationZ];
    for (const z of [...all, versions.facts.uniformityZ, versions.facts.correlationZ])
      expect(Math.abs(z)).toBeLessThan(6);
    // 512 places: |·|² is exponential, so its mean is 1 ± 1/√512
    expect(Math.abs(average.facts.meanPhase - 1)).toBeLessThan(6 / Math.sqrt(512));
  });
});

describe("reading a key's secret", () => {
  it("takes two entries a vector, ends where the key is worn out, and says nothing of the next key", async () => {
    const [one, many] = await run(keySecret);
    const each = Math.floor(P.replyBits / P.secretBits);
    expect(one.facts).toMatchObject({ entriesPerQuery: each, right: 1, refused: 1 });
    expect(one.facts.entries).toBe(each * (P.vectorsPerKey - 1));
    expect(one.facts.dimensionLeft).toBe(P.keyLength - each * P.vectorsPerKey);
    expect(one.facts.standardBitsLeft).toBeGreaterThan(128);
    const { equal, guessing, tried } = many.facts;
    expect(Math.abs(equal - guessing)).toBeLessThan(6 * Math.sqrt(guessing / tried));
  });

  it("costs as much through the errors", async () => {
    const [{ facts }] = await run(keyErrors);
    expect(facts).toMatchObject({ hintExact: 1, sumExact: 1 });
    expect(facts.hintGuessing).toBeLessThan(0.1);
    expect(Math.min(facts.bitsOfError, facts.bitsOfHintError)).toBeGreaterThanOrEqual(facts.bitsOfSecret);
  });
});

describe("a key asked again", () => {
  it("is the same bytes or refused, wherever; worn out everywhere at once; unrelated in a new version", async () => {
    const [{ facts }] = await run(keyAgain);
    const { versionEqual, ...rules } = facts;
    expect(rules).toEqual({
      again: 1,
      sameAccount: 1,
      replica: 1,
      otherAccount: 1,
      otherAccountQuery: 1,
      worn: 1,
      restarted: 1,
      wornAfterRestart: 1,
      versionRefused: 1,
    });
    expect(versionEqual).toBeLessThan(0.15); // 64 entries, 1/128 by chance
  });
});

describe("one reply", () => {
  it("gives every weight of a plain layer, and on Tacet no more than guessing", async () => {
    const [plain, partial, tacet] = await run(oneReply);
    expect(plain.facts).toMatchObject({ exact: 1, correct: 1 });
    expect(partial.facts.exact).toBe(1);
    // Both are counts of what was right by chance, a few each: five standard deviations of their difference.
    const isGuessing = (share: number, guessing: number, entries: number) => {
      const [right, guessed] = [share * entries, guessing * entries];
      expect(right - guessed).toBeLessThan(5 * Math.sqrt(Math.max(4, right + guessed)));
    };
    isGuessing(tacet.facts.oneReply, tacet.facts.guessing, N * context.view.rows);
    isGuessing(tacet.facts.hintDivided, tacet.facts.secretGuessing, 128 * context.view.rows);
  });
});

describe("a provider that breaks the rules of keys", () => {
  it("is found out: counts that replicas do not share, errors that are fresh each time", async () => {
    const careless = await auditTarget(64, { rank: 2, fault: "separate counts" });
    const [{ facts: separate }] = await keyAgain.run(careless.context);
    expect(separate).toMatchObject({ again: 1, worn: 0, wornAfterRestart: 0 });
    const fresh = await auditTarget(64, { rank: 2, fault: "fresh errors" });
    const [{ facts: redrawn }] = await keyAgain.run(fresh.context);
    expect(redrawn).toMatchObject({ again: 0, sameAccount: 0 });
    const endless = await auditTarget(64, { rank: 2, fault: "no count" });
    const [{ facts: worn }] = await keySecret.run(endless.context);
    expect(worn.refused).toBe(0);
  });
});
