import { describe, expect, it } from "vitest";
import { checkOptions, editDistance, withDefaults } from "./check-options.ts";
import { TacetError } from "./errors.ts";

interface Wishes {
  readonly adapter?: string;
  readonly provider: string | readonly string[];
  readonly threads?: number;
  readonly sampling?: object;
  readonly maxNewTokens?: number;
}
const types = {
  adapter: "string",
  provider: "any",
  threads: "number",
  sampling: "object",
  maxNewTokens: "number",
} as const;
const help = {
  of: "connect",
  required: { provider: '"wss://p.example"' },
  known: { temperature: "sampling.temperature", maxTokens: "maxNewTokens" },
};
const failure = (given: unknown): string => {
  try {
    checkOptions<Wishes>(given, types, help);
  } catch (error) {
    if (!(error instanceof TacetError)) throw error;
    expect(error.code).toBe("bad_argument");
    return `${error.message} | ${error.hint ?? ""}`;
  }
  return "";
};

describe("checkOptions", () => {
  it("lets options through that exist, and what is undefined", () => {
    expect(failure({ provider: "x", threads: 2, sampling: {}, adapter: undefined })).toBe("");
  });

  it.each([
    ["adaptor", 'connect has no option "adaptor" | did you mean adapter?'],
    ["apadter", 'connect has no option "apadter" | did you mean adapter?'],
    ["temperature", 'connect has no option "temperature" | did you mean sampling.temperature?'],
    ["temprature", 'connect has no option "temprature" | did you mean sampling.temperature?'],
    ["maxTokens", 'connect has no option "maxTokens" | did you mean maxNewTokens?'],
    ["max_new_tokens", 'connect has no option "max_new_tokens" | did you mean maxNewTokens?'],
    ["max_tokens", 'connect has no option "max_tokens" | did you mean maxNewTokens?'],
    ["colour", 'connect has no option "colour" | it has: adapter, maxNewTokens, provider, sampling, threads'],
    [
      "constructor",
      'connect has no option "constructor" | it has: adapter, maxNewTokens, provider, sampling, threads',
    ],
  ])("%s: names the option and the likely one", (name, message) => {
    expect(failure({ provider: "x", [name]: undefined })).toBe(message);
  });

  it("says what is missing, and what has another type, without its value", () => {
    expect(failure({})).toBe('connect needs provider | as in { provider: "wss://p.example" }');
    expect(failure({ provider: "x", threads: "secret" })).toBe(
      "threads of connect must be a number, and is a string | ",
    );
    expect(failure({ provider: "x", sampling: null })).toBe(
      "sampling of connect must be an object, and is null | ",
    );
    for (const given of [undefined, null, "ws://x", ["x"]]) {
      expect(failure(given)).toBe(
        'connect takes its options as one object | as in connect({ provider: "wss://p.example" })',
      );
    }
  });
});

describe("editDistance", () => {
  it.each([
    ["", "abc", 3],
    ["kitten", "sitting", 3],
    ["ab", "ba", 1],
    ["adaptor", "adapter", 1],
    ["same", "same", 0],
  ])("%s → %s: %d", (a, b, edits) => {
    expect(editDistance(a, b)).toBe(edits);
    expect(editDistance(b, a)).toBe(edits);
  });
});

it("puts options over their defaults, and what is undefined counts as not given", () => {
  const defaults = { port: 1, host: "here" };
  expect(withDefaults(defaults, { port: undefined, host: "there", more: null })).toStrictEqual({
    port: 1,
    host: "there",
    more: null,
  });
});
