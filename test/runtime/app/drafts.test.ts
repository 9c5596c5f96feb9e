/** The browser app drafts: with a public adapter that `tacet web` hands to the page, and says what became of it. */
import { join } from "node:path";
import type { Browser } from "playwright";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ask, entries, expected, ROOT, type RunningApp, ready, startApp, startBrowser } from "./support.ts";

let app: RunningApp | undefined;
let browser: Browser | undefined;
beforeAll(async () => {
  const args = ["--drafts", "4", "--draft-adapter", join(ROOT, "models/lexicon/law-adapter")];
  app = await startApp({ args });
  browser = await startBrowser();
});
afterAll(async () => {
  await browser?.close();
  await app?.stop();
});

it("gives the same answers, with fewer questions, and shows how many drafts were accepted", async () => {
  const page = await browser!.newPage();
  await page.goto(app!.url);
  await ready(page);
  const [entry] = entries;
  expect(await ask(page, entry.word)).toEqual(expected(entry));
  const shown = await page.locator("#drafts", { hasText: " of " }).textContent();
  const [, accepted, drafted] = /^(\d+) of (\d+)$/.exec(shown ?? "")!.map(Number);
  // The provider's own adapter drafts.
  expect(accepted).toBeGreaterThan(0.7 * drafted);
  // Of one query for each group and pass there are 24.
  expect(Number(await page.locator("#round-trips").textContent())).toBeLessThan(24);
});
