import { describe, expect, it } from "vitest";
import { collectModels, parseModelSpec } from "./model-specs.ts";

describe("--model", () => {
  it.each([
    ["law=wss://a.example", { name: "law", provider: ["wss://a.example"], adapter: "law" }],
    [
      "law=wss://a.example/x?y=1#law-v2",
      { name: "law", provider: ["wss://a.example/x?y=1"], adapter: "law-v2" },
    ],
    [
      "my law=ws://127.0.0.1:8787#a%20b",
      { name: "my law", provider: ["ws://127.0.0.1:8787"], adapter: "a b" },
    ],
    [
      '{"name": "law", "provider": ["wss://a", "wss://b"], "tokenFile": "t"}',
      { name: "law", provider: ["wss://a", "wss://b"], adapter: "law", tokenFile: "t" },
    ],
    [
      `{"name": "law", "provider": "wss://a", "adapter": "v2", "bundleDigest": "${"0a".repeat(32)}"}`,
      { name: "law", provider: ["wss://a"], adapter: "v2", bundleDigest: "0a".repeat(32) },
    ],
  ])("%s", (text, spec) => expect(parseModelSpec(text)).toEqual(spec));

  it.each([
    "law",
    "=wss://a",
    "law=",
    "law=https://a",
    "law=wss://a#",
    "law=wss://a#%",
    "la\u001bw=wss://a",
    "{",
    "{}",
    '{"name": "law"}',
    '{"name": "law", "provider": []}',
    '{"name": "law", "provider": [7]}',
    '{"name": "law", "provider": "wss://a#x"}',
    '{"name": "law", "provider": "wss://a", "path": "x"}',
    '{"name": "law", "provider": "wss://a", "tokenFile": 7}',
    '{"name": "law", "provider": "wss://a", "bundleDigest": "0a"}',
    '{"name": "law", "name": "x", "provider": "wss://a"}',
  ])("refuses %s", (text) =>
    expect(() => parseModelSpec(text)).toThrow(expect.objectContaining({ code: "bad_argument" })),
  );

  it("may be repeated, with other names", () => {
    const first = collectModels("law=wss://a", undefined);
    expect(collectModels("tax=wss://a", first).map(({ name }) => name)).toEqual(["law", "tax"]);
    expect(() => collectModels("law=wss://b", first)).toThrow(/twice/);
  });
});
