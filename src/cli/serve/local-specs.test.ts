import { describe, expect, it } from "vitest";
import { collectAdapters } from "./local-specs.ts";

describe("--adapter of the endpoint", () => {
  it.each([
    ["law=./law-adapter", { name: "law", folder: "./law-adapter" }],
    ["my law=/a/b", { name: "my law", folder: "/a/b" }],
    ["law=org/name@main", { name: "law", folder: "org/name@main" }],
    ["./adapters/law/", { name: "law", folder: "./adapters/law/" }],
    ["./a=b/law", { name: "law", folder: "./a=b/law" }],
    ["org/name@main", { name: "name", folder: "org/name@main" }],
  ])("%s", (text, spec) => expect(collectAdapters(text)).toEqual([spec]));

  it.each(["", "law=", "=./law", "la\u001bw=./law"])("refuses %j", (text) =>
    expect(() => collectAdapters(text)).toThrow(expect.objectContaining({ code: "bad_argument" })),
  );

  it("may be repeated, with other names", () => {
    const first = collectAdapters("law=./a");
    expect(collectAdapters("./b/tax", first).map(({ name }) => name)).toEqual(["law", "tax"]);
    expect(() => collectAdapters("./b/law", first)).toThrow(/twice/);
  });
});
