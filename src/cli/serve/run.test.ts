import { describe, expect, it } from "vitest";
import { runServe, type ServeFlags } from "./run.ts";

const OPTIONS: ServeFlags = {
  host: "127.0.0.1",
  port: 0,
  parallel: 1,
  queue: 1,
  contexts: 1,
  logLevel: "silent",
};

describe("tacet serve refuses", () => {
  it.each<[string, Partial<ServeFlags>, RegExp]>([
    ["a base without a provider", { base: "./model" }, /--base needs --provider, --model or --adapter/],
    ["a provider's options without one", { tokenFile: "token" }, /--token-file needs --provider/],
    ["a provider beside models", { provider: ["ws://a"], model: [] }, /--provider and --model exclude/],
    ["an adapter's name beside models", { adapterName: "a", model: [] }, /--adapter-name and --model/],
    ["an open address without keys", { host: "0.0.0.0" }, /needs --api-key-file/],
    ["an origin with a path", { corsOrigin: ["https://app.example/x"] }, /--cors-origin must be an origin/],
    ["every origin", { corsOrigin: ["*"] }, /--cors-origin must be an origin/],
  ])("%s", async (_, more, message) => {
    const run = runServe({ ...OPTIONS, ...more }, new AbortController().signal);
    await expect(run).rejects.toMatchObject({
      code: "bad_argument",
      message: expect.stringMatching(message),
    });
  });
});
