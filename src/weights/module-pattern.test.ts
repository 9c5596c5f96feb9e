import { describe, expect, it } from "vitest";
import { modulePattern } from "./module-pattern.ts";

const Q0 = "model.layers.0.self_attn.q_proj";
const V11 = "model.layers.11.self_attn.v_proj";

describe("modulePattern", () => {
  it.each<[string, boolean, boolean]>([
    ["q_proj", true, false],
    ["_proj", false, false],
    ["self_attn.q_proj", true, false],
    ["layers\\.\\d+\\.self_attn\\.v_proj", false, true],
    ["layers\\.[01]\\.self_attn\\.(q|v)_proj", true, false],
    ["layers\\.[0-9]+\\..*", true, true],
    ["^model\\.layers\\.0\\..*q_proj$", true, false],
    ["^layers.0.self_attn.q_proj", false, false],
    [".*", true, true],
  ])("%s fits as Python's re.match(rf'(.*\\.)?(%s)$') does", (key, q, v) => {
    const fits = modulePattern(key)!;
    expect([fits(Q0), fits(V11)]).toEqual([q, v]);
  });

  it.each([
    "",
    "(a+)+",
    "(a|aa)".repeat(7),
    ".*.*.*",
    "[a-z]+\\d+.*",
    "(?=a)",
    "\\1",
    "a{2}",
    "a|b",
    "x".repeat(201),
  ])("%s is not read", (key) => expect(modulePattern(key)).toBeUndefined());

  it("takes no time on any name", () => {
    for (const key of [".*a.*", "[\\w]+b", "(a|aa)(a|aa)(a|aa)(a|aa)(a|aa)(a|aa)", "\\d+.*"]) {
      const fits = modulePattern(key);
      for (const name of ["a".repeat(512), "0".repeat(512), "a.".repeat(256)]) fits?.(name);
    }
  });
});
