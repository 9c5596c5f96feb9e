import { afterEach, describe, expect, it, vi } from "vitest";
import { FairSemaphore } from "../../openai/endpoint.ts";
import type { ModelSpec } from "./model-specs.ts";
import { openModels } from "./open-models.ts";

afterEach(() => vi.unstubAllEnvs());

const open = (specs: readonly ModelSpec[]) =>
  openModels(
    { remote: specs, local: [] },
    { contexts: 1, parallel: 1, base: "/no/such/folder", cache: false },
    new FairSemaphore(1),
    new AbortController().signal,
  );

describe("a token that is given for all models", () => {
  it("goes to one provider only", async () => {
    vi.stubEnv("TACET_TOKEN", "secret");
    const a = { name: "a", provider: ["wss://a.example/x"], adapter: "a" };
    const b = { name: "b", provider: ["wss://b.example"], adapter: "b" };
    const refused = { code: "bad_argument", message: "one token would go to several providers" };
    await expect(open([a, b])).rejects.toMatchObject(refused);
    await expect(open([a, { ...a, provider: ["ws://a.example"] }])).rejects.toMatchObject(refused);
    await expect(open([a, { ...a, provider: ["wss://a.example:444"] }])).rejects.toMatchObject(refused);
    // The base is looked for only when that is settled.
    const settled = { code: "io_failed" };
    await expect(open([a, { ...a, name: "c", provider: ["wss://a.example/y"] }])).rejects.toMatchObject(
      settled,
    );
    vi.stubEnv("TACET_TOKEN", "");
    await expect(open([a, b])).rejects.toMatchObject(settled);
  });
});
