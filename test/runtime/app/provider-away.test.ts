/** What the page does when its provider is not there, wants a key, or has given enough: it says so, and goes on. */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sha256 } from "@noble/hashes/sha2.js";
import type { Browser, Page } from "playwright";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { toHex } from "../../../src/base/bytes.ts";
import { createSigningKey, encodeSignature, publicKeyOf, signBundle } from "../../../src/bundle/signature.ts";
import { systemRandom } from "../../../src/ring/random-source.ts";
import { lexicon, temporaryFolder } from "../../support/models.ts";
import { startProvider, stopProviders } from "../../support/provider-process.ts";
import {
  ask,
  createKey,
  entries,
  expected,
  freePort,
  PATIENCE,
  picture,
  type RunningApp,
  ready,
  startApp,
  startBrowser,
  status,
  violations,
} from "./support.ts";

const folder = temporaryFolder();
const state = join(folder.path, "state");
let browser: Browser;
let app: RunningApp | undefined;
let page: Page;

beforeAll(async () => {
  await (await lexicon()).writeState(state, { name: "law" });
  browser = await startBrowser();
});
afterAll(async () => {
  await browser?.close();
  folder.remove();
});
afterEach(async () => {
  await page?.close();
  await app?.stop();
  await stopProviders();
});

async function open(provider: string, ...more: readonly string[]): Promise<void> {
  app = await startApp({ args: ["--provider", provider, ...more] });
  page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  await page.goto(app.url);
}

const notice = (text: RegExp) => page.locator("#notice-text", { hasText: text });
/** Of the last question's private answer. */
const failure = (text: RegExp) =>
  page.locator(".turn").last().locator(".private .failure", { hasText: text });
/** Each begins with a capital letter and ends with a full stop. */
const SENTENCES = /^(\p{Lu}[^.]*(\.\d[^.]*)*\.\s?)+$/u;

it("a provider that is down at the start: base answers, visible tries, and joins by itself once it is up", async () => {
  const port = await freePort();
  await open(`ws://127.0.0.1:${port}`);
  await status(page, /^Base model only$/).waitFor(PATIENCE);
  await notice(/The provider does not answer\..*Next try in \d+ seconds?\./).waitFor(PATIENCE);
  expect(await page.locator("#notice-text").textContent()).toMatch(SENTENCES);
  expect((await ask(page, entries[0].word, "base")).base).toBe(expected(entries[0]).base);
  await failure(/does not answer/).waitFor(PATIENCE);
  expect(await failure(/./).textContent()).toMatch(SENTENCES);
  await picture(page, "provider-down");
  expect(await violations(page)).toEqual([]);
  // Longer and longer pauses.
  await notice(/Next try in (4|8|16|30) seconds\./).waitFor(PATIENCE);
  await startProvider(state, { port });
  await page.locator("#notice-action", { hasText: "Try now" }).click();
  await ready(page);
  expect(await page.locator("#notice").isVisible()).toBe(false);
  expect(await ask(page, entries[1].word)).toEqual(expected(entries[1]));
});

it("a bundle that the pinned key has not signed is refused with the reason, one that it has is taken", async () => {
  const signed = join(folder.path, "signed");
  cpSync(state, signed, { recursive: true });
  const [ours, other] = [createSigningKey(systemRandom), createSigningKey(systemRandom)];
  const digest = sha256(readFileSync(join(signed, "bundle.safetensors")));
  writeFileSync(join(signed, "bundle.signature"), encodeSignature(signBundle(ours, digest)));
  const { url } = await startProvider(signed);
  await open(url, "--provider-key", toHex(publicKeyOf(other)));
  await notice(/has a signature that does not hold/).waitFor(PATIENCE);
  expect(await page.locator("#notice-text").textContent()).toMatch(SENTENCES);
  await status(page, /^Base model only$/).waitFor(PATIENCE);
  await page.close();
  await app?.stop();
  await open(url, "--provider-key", toHex(publicKeyOf(ours)));
  await ready(page);
  expect(await ask(page, entries[0].word)).toEqual(expected(entries[0]));
});

it("a provider that goes away in the middle and comes back, with the question asked again", async () => {
  const provider = await startProvider(state);
  await open(provider.url);
  await ready(page);
  expect(await ask(page, entries[0].word)).toEqual(expected(entries[0]));
  await provider.kill();
  expect((await ask(page, entries[1].word, "base")).base).toBe(expected(entries[1]).base);
  await failure(/does not answer/).waitFor(PATIENCE);
  await status(page, /^Base model only$/).waitFor(PATIENCE);
  await startProvider(state, { port: provider.port });
  await ready(page);
  await page.getByText("Ask again").last().click();
  const card = page.locator(".turn").last().locator(".private[data-ids]");
  await card.waitFor(PATIENCE);
  expect(await card.getAttribute("data-ids")).toBe(expected(entries[1]).private);
});

it("a wrong key asks again and says why; a right one shows what is left; its end is a sentence", async () => {
  const data = join(folder.path, "data");
  const word = entries.find((entry) => entry.word === "action")!;
  const key = createKey(data, "60/day");
  const provider = await startProvider(state, { args: ["--data", data] });
  await open(provider.url);
  const dialog = page.locator("#key-dialog");
  await dialog.getByText("The provider asks for a key.").waitFor(PATIENCE);
  await picture(page, "key");
  await page.locator("#key").fill(`tacet_${"0".repeat(64)}`);
  await page.keyboard.press("Enter");
  await dialog.getByText("The provider does not accept this key.").waitFor(PATIENCE);
  expect(await page.locator("#key").inputValue()).toBe("");
  await picture(page, "wrong-key");
  expect(await violations(page)).toEqual([]);
  // Without a key the base model answers, and the page says why nothing else does.
  await dialog.getByText("Not now").click();
  await status(page, /^Base model only$/).waitFor(PATIENCE);
  await notice(/does not accept this key/).waitFor(PATIENCE);
  expect((await ask(page, word.word, "base")).base).toBe(expected(word).base);
  await failure(/key/).waitFor(PATIENCE);

  await page.locator("#notice-action", { hasText: "Enter a key" }).click();
  await page.locator("#key").fill(key);
  await page.keyboard.press("Enter");
  await ready(page);
  const budget = page.locator("#budget");
  expect(await budget.textContent()).toBe("60 of 60 tokens a day are left.");
  expect(await ask(page, word.word)).toEqual(expected(word));
  await page.locator("#budget", { hasText: /^\d+ of 60/ }).waitFor(PATIENCE);
  const left = Number.parseInt((await budget.textContent()) ?? "", 10);
  expect(left).toBeGreaterThan(0);
  expect(left).toBeLessThanOrEqual(60 - expected(word).private.split(",").length);
  await ask(page, "bail", "base");
  await failure(/budget/).waitFor(PATIENCE);
  expect(await failure(/./).textContent()).toMatch(
    /^Not enough is left of your key's budget\. The budget is renewed at \d+ \p{Lu}\p{L}+ \d{4} at \d\d:\d\d\.$/u,
  );
  await picture(page, "budget");
  expect(await violations(page)).toEqual([]);
  // The page goes on.
  await page.locator("#send:not([disabled])").waitFor(PATIENCE);
});
