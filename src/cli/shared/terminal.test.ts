import { describe, expect, it } from "vitest";
import { uniformityOf } from "../demo/uniformity.ts";
import { describeFailure } from "./report-error.ts";
import { oneLine, showBytes, showMs, wrap } from "./terminal.ts";
import { tokenCheck } from "./token.ts";

describe("terminal", () => {
  it("wraps at spaces, cuts what is longer, keeps every word", () => {
    expect(wrap("aa bb cc", 5)).toEqual(["aa bb", "cc"]);
    expect(wrap("aaaaaaa b", 3)).toEqual(["aaa", "aaa", "a b"]);
    expect(wrap("", 3)).toEqual([""]);
  });

  it("lets no control character through", () => {
    expect(oneLine("a\u001b[31mb\r\nc\u202e")).toBe("a [31mb c ");
  });

  it("shows sizes and times", () => {
    expect([0, 999, 1000, 99_499, 2_313_968].map(showBytes)).toEqual([
      "0 B",
      "999 B",
      "1.0 kB",
      "99.5 kB",
      "2.3 MB",
    ]);
    expect([0.123, 12.34, 1234].map(showMs)).toEqual(["0.12 ms", "12.3 ms", "1.23 s"]);
  });
});

describe("failures", () => {
  it("say nothing of an unexpected error's message", () => {
    const { code, message } = describeFailure(new TypeError("secret prompt"));
    expect(code).toBe("internal");
    expect(message).toMatch(/^unexpected TypeError/);
    expect(message).not.toContain("secret");
  });
});

describe("uniformityOf", () => {
  it("is exact on known counts", () => {
    const all = Uint8Array.from({ length: 256 }, (_, i) => i);
    expect(uniformityOf([all, all])).toMatchObject({ bytes: 512, entropyBits: 8, chiSquare: 0 });
    expect(uniformityOf([new Uint8Array(256)])).toMatchObject({ entropyBits: 0, chiSquare: 255 * 256 });
  });

  it("tells text from random bytes", () => {
    const random = crypto.getRandomValues(new Uint8Array(60_000));
    expect(Math.abs(uniformityOf([random]).deviations)).toBeLessThan(6);
    expect(uniformityOf([new TextEncoder().encode("a word ".repeat(1000))]).deviations).toBeGreaterThan(100);
  });
});

describe("tokenCheck", () => {
  it("accepts the allowed tokens and no other", () => {
    const check = tokenCheck(["one", "two"]);
    expect(["one", "two", "", "on", "one ", "three"].map(check)).toEqual([
      true,
      true,
      false,
      false,
      false,
      false,
    ]);
  });
});
