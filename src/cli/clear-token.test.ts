/** A token that others on the way can read is warned of; one that is encrypted, or stays on this machine, is not. */
import { afterEach, expect, it, vi } from "vitest";
import { isLoopback } from "./shared/loopback.ts";
import { warnOfClearToken } from "./shared/link-notices.ts";

const stderr = vi.spyOn(process.stderr, "write").mockImplementation(() => true);
afterEach(() => stderr.mockClear());
const warnings = (token: string | undefined, ...urls: string[]) => {
  warnOfClearToken(token, urls);
  return stderr.mock.calls.map(([text]) => String(text)).join("");
};

it("warns of ws:// to another machine, by its name and not by the token", () => {
  const said = warnings("secret-token", "wss://a.example", "ws://b.example:8787/path");
  expect(said).toMatch(/^warning: the token travels in clear to b\.example:8787: use wss:\/\//);
  expect(said).not.toContain("secret-token");
});

it.each([
  [undefined, "ws://b.example"],
  ["t", "wss://b.example"],
  ["t", "ws://127.0.0.1:8787"],
  ["t", "ws://[::1]:8787"],
  ["t", "ws://localhost"],
  ["t", "no url"],
])("is silent for token %s to %s", (token, url) => expect(warnings(token, url)).toBe(""));

it("knows what is loopback", () => {
  for (const host of ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"])
    expect(isLoopback(host)).toBe(true);
  for (const host of ["127.0.0.1.example", "0.0.0.0", "::", "10.0.0.1", "localhost.example"])
    expect(isLoopback(host)).toBe(false);
});
