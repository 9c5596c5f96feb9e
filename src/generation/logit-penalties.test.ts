import { describe, expect, it } from "vitest";
import { LogitPenalties } from "./logit-penalties.ts";

describe("LogitPenalties", () => {
  it("divides positive logits of what the context has, and multiplies negative ones, once each", () => {
    const penalties = new LogitPenalties({ repetitionPenalty: 2 }, [0, 1, 1, 99]);
    const logits = Float32Array.of(4, -4, 4, -4);
    expect([...penalties.apply(logits)]).toEqual([2, -8, 4, -4]);
    penalties.push(3);
    penalties.push(3);
    expect([...penalties.apply(logits)]).toEqual([2, -8, 4, -8]);
    expect([...logits]).toEqual([4, -4, 4, -4]);
    expect([...new LogitPenalties({ repetitionPenalty: 0.5 }, [0]).apply(logits)]).toEqual([8, -4, 4, -4]);
  });

  it("counts what was generated, not what the prompt has", () => {
    const penalties = new LogitPenalties({ frequencyPenalty: 0.5, presencePenalty: 1 }, [0]);
    for (const id of [1, 2, 2, 2]) penalties.push(id);
    expect([...penalties.apply(new Float32Array(4))]).toEqual([0, -1.5, -2.5, 0]);
    const reward = new LogitPenalties({ presencePenalty: -2 }, []);
    reward.push(3);
    expect([...reward.apply(new Float32Array(4))]).toEqual([0, 0, 0, 2]);
  });

  it("applies the repetition penalty first", () => {
    const penalties = new LogitPenalties({ repetitionPenalty: 2, presencePenalty: 1 }, []);
    penalties.push(0);
    expect([...penalties.apply(Float32Array.of(4))]).toEqual([1]);
  });

  it("leaves the logits alone by default", () => {
    const logits = Float32Array.of(1, 2);
    expect(new LogitPenalties({}, [0]).apply(logits)).toBe(logits);
  });

  it.each([
    { repetitionPenalty: 0 },
    { repetitionPenalty: Number.NaN },
    { repetitionPenalty: Number.POSITIVE_INFINITY },
    { frequencyPenalty: 2.1 },
    { presencePenalty: -2.1 },
    { presencePenalty: Number.NaN },
  ])("refuses %j", (options) => {
    expect(() => new LogitPenalties(options, [])).toThrow(expect.objectContaining({ code: "bad_argument" }));
  });
});
