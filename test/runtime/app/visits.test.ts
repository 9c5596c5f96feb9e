/** The app's second day, in one browser profile: started again, with another provider, and with nothing there at all. */
import { join } from "node:path";
import type { BrowserContext, Page } from "playwright";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { lexicon, temporaryFolder } from "../../support/models.ts";
import { startProvider, stopProviders } from "../../support/provider-process.ts";
import {
  ask,
  entries,
  expected,
  freePort,
  PATIENCE,
  picture,
  type RunningApp,
  ready,
  startApp,
  startProfile,
  status,
} from "./support.ts";

const folder = temporaryFolder();
let port: number;
let profile: BrowserContext;
let app: RunningApp | undefined;
let visits = 0;

beforeAll(async () => {
  await (await lexicon()).writeState(join(folder.path, "state"), { name: "law" });
});
afterAll(async () => {
  await stopProviders();
  folder.remove();
});
afterEach(async () => {
  await profile?.close();
  await app?.stop();
  app = undefined;
});

async function newProfile(): Promise<Page> {
  port = await freePort();
  profile = await startProfile(join(folder.path, `profile-${visits++}`));
  return profile.pages()[0];
}

async function restart(...args: string[]): Promise<string> {
  await app?.stop();
  app = await startApp({ port, args });
  return app.url;
}

interface Caches {
  open(name: string): Promise<{
    keys(): Promise<readonly unknown[]>;
    put(path: string, response: Response): Promise<void>;
  }>;
}

/** In the page: how many bundles are kept; and leaves some more, as many earlier days would have. */
async function leaveBundles(): Promise<number> {
  const { caches } = globalThis as unknown as { caches: Caches };
  const cache = await caches.open("tacet-bundles");
  const { length } = await cache.keys();
  for (let i = 0; i < 6; i++) await cache.put(`/bundle-cache/old-${i}`, new Response("x"));
  return length;
}

describe("the same browser", () => {
  it("connects again when the app is started again, each time with another provider of its own", async () => {
    const page = await newProfile();
    for (const entry of entries.slice(0, 3)) {
      await page.goto(await restart());
      await ready(page);
      expect(await ask(page, entry.word)).toEqual(expected(entry));
      // Each start has made a bundle of its own; a year of them is not kept.
      expect(await page.evaluate(leaveBundles)).toBeLessThanOrEqual(4);
    }
  });

  it("connects when the app is started for another provider", async () => {
    const page = await newProfile();
    for (const entry of entries.slice(0, 2)) {
      const { url } = await startProvider(join(folder.path, "state"));
      await page.goto(await restart("--provider", url));
      await ready(page);
      expect(await ask(page, entry.word)).toEqual(expected(entry));
      await stopProviders();
    }
  });

  it("opens after one visit with nothing there, says that only the base model answers, and is right", async () => {
    const page = await newProfile();
    await page.goto(await restart());
    await ready(page);
    await page.locator("#facts", { hasText: /Kept in this browser/ }).waitFor(PATIENCE);
    await app?.stop();
    app = undefined;
    await page.goto("about:blank");
    await page.goto(`http://127.0.0.1:${port}/`);
    await status(page, /^Base model only$/).waitFor(PATIENCE);
    expect((await ask(page, entries[1].word, "base")).base).toBe(expected(entries[1]).base);
    await page.locator(".turn .private .failure", { hasText: /provider/ }).waitFor(PATIENCE);
    await picture(page, "offline");
    // And finds its way back by itself once both are there again: the page says so, since its provider has moved.
    await restart();
    await page.locator("#notice-action", { hasText: "Reload" }).click(PATIENCE);
    await ready(page);
    expect(await ask(page, entries[2].word)).toEqual(expected(entries[2]));
  });
});

describe("what a run decides is kept by nobody", () => {
  it("is never in the browser's cache, policy and settings above all; what never changes may be", async () => {
    const url = await (async () => {
      await newProfile();
      return await restart();
    })();
    const html = await (await fetch(url)).text();
    const script = /src="\.\/(assets\/[^"]+\.js)"/.exec(html)?.[1];
    expect(script).toBeDefined();
    const settings = (await (await fetch(`${url}settings.json`)).json()) as { app: string[] };
    expect(settings.app).toContain(script);
    for (const path of ["", "settings.json", ...settings.app]) {
      const response = await fetch(url + path);
      await response.body?.cancel();
      const policy = response.headers.get("content-security-policy") ?? "";
      const cache = response.headers.get("cache-control") ?? "";
      if (/ws:/.test(policy) || path === "settings.json") expect([path, cache]).toEqual([path, "no-store"]);
      // Whatever runs or shows something is under a policy.
      if (/\.(js|html)$|^$/.test(path)) expect(policy).toMatch(/ws:\/\/127\.0\.0\.1/);
    }
    // ONNX Runtime for the processor, and for WebGPU.
    expect(settings.app.filter((path) => path.endsWith(".wasm"))).toHaveLength(2);
  });
});
