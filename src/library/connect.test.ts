/** Options of both ways to connect, before anything is opened. With a provider: test/e2e/library.test.ts. */
import { describe, expect, it } from "vitest";
import { connect as connectInNode } from "./node-connect.ts";
import { connect as connectInPage } from "./web-connect.ts";

const PROVIDER = "ws://127.0.0.1:1";
const FILES = { url: "/model/", files: [], version: "1" };

describe.each<[string, (options: unknown) => Promise<unknown>, object]>([
  ["Node", (options) => connectInNode(options as never), { base: "./model" }],
  ["a page", (options) => connectInPage(options as never), { base: FILES, ort: {} }],
])("connect in %s", (_, connect, right) => {
  it.each<[string, object, string, string]>([
    ["no provider", {}, "connect needs provider", 'as in { provider: "wss://provider.example" }'],
    [
      "an empty list of providers",
      { provider: [] },
      "provider of connect must be a URL, or a list of them",
      "ws://",
    ],
    ["a URL object", { provider: new URL(PROVIDER) }, "provider of connect must be a URL", "ws://"],
    [
      "a mistyped adapter",
      { provider: PROVIDER, adaptor: "law" },
      'no option "adaptor"',
      "did you mean adapter?",
    ],
    [
      "another library's name",
      { provider: PROVIDER, apiKey: "k" },
      'no option "apiKey"',
      "did you mean token?",
    ],
    [
      "an answer's option",
      { provider: PROVIDER, temperature: 0 },
      '"temperature"',
      "sampling.temperature of generate",
    ],
    ["a token that is no text", { provider: PROVIDER, token: 5 }, "token of connect must be a string", ""],
    ["a base that is nothing", { provider: PROVIDER, base: 5 }, "base of connect must be", ""],
    ["no base", { provider: PROVIDER, base: undefined }, "connect needs base", "base: "],
  ])("%s", async (_name, change, message, hint) => {
    await expect(connect({ ...right, ...change })).rejects.toMatchObject({
      code: "bad_argument",
      message: expect.stringContaining(message),
      ...(hint === "" ? {} : { hint: expect.stringContaining(hint) }),
    });
  });

  it("never quotes a value", async () => {
    const error = await connect({ ...right, provider: PROVIDER, token: ["tacet_secret"] }).catch(String);
    expect(error).not.toContain("tacet_secret");
  });
});
