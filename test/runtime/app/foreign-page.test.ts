/** In a real Chromium: a page of another origin can't reach a provider without keys, and one of this machine can. */
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { type Browser, chromium } from "playwright";
import { afterAll, beforeAll, expect, it } from "vitest";
import { temporaryFolder } from "../../support/models.ts";
import { startProvider, stopProviders } from "../../support/provider-process.ts";
import { tinyBundle } from "../../support/tiny-bundle.ts";

/** The page comes from this machine under a foreign name: some Chromiums keep pages of other networks from this one. */
const RULE = "--host-resolver-rules=MAP evil.test 127.0.0.1";
const folder = temporaryFolder();
let browser: Browser;
beforeAll(async () => {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM_PATH ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", RULE],
  });
});
afterAll(async () => {
  await browser?.close();
  await stopProviders();
  folder.remove();
});

it("refuses the WebSocket of a foreign page, unless clients need keys", async () => {
  const made = await tinyBundle();
  const state = join(folder.path, "state");
  mkdirSync(state);
  writeFileSync(join(state, "bundle.safetensors"), made.bundle);
  writeFileSync(join(state, "private.safetensors"), made.privateState);
  const tokens = join(folder.path, "tokens");
  writeFileSync(tokens, `${"k".repeat(32)}\n`);
  const open = await startProvider(state);
  const keyed = await startProvider(state, { args: ["--token-file", tokens] });

  const page = await browser.newPage();
  const pages = createServer((_, response) => response.setHeader("content-type", "text/html").end("page"));
  await new Promise<void>((resolve) => pages.listen(0, "127.0.0.1", resolve));
  const { port } = pages.address() as AddressInfo;
  const reaches = (url: string) =>
    page.evaluate(
      `new Promise((resolve) => {
        const socket = new WebSocket(${JSON.stringify(url)});
        socket.onopen = () => resolve(true);
        socket.onerror = () => resolve(false);
      })`,
    );
  await page.goto(`http://evil.test:${port}/`);
  expect(await reaches(open.url)).toBe(false);
  // The browser itself does not stop it.
  expect(await reaches(keyed.url)).toBe(true);
  await page.goto(`http://localhost:${port}/`);
  expect(await reaches(open.url)).toBe(true);
  pages.closeAllConnections();
  pages.close();
});
