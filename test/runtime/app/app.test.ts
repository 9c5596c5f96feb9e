/**
 * The browser app in a real Chromium, served by a real `tacet web`, against a real provider: the private answer is
 * the expected one token for token, the page talks to nobody else, and it can be used by keyboard and on a phone.
 */
import type { Page } from "playwright";
import { beforeAll, describe, expect, it } from "vitest";
import { ask, entries, expected, PATIENCE, ready, useApp, violations } from "./support.ts";

const app = useApp();

interface Opened {
  readonly page: Page;
  /** What the page complained about, content security violations included. */
  readonly complaints: string[];
  readonly requests: string[];
}

/** What is used of the browser's own types, which Node's tests do not have. */
interface Context {
  getImageData(x: number, y: number, width: number, height: number): { readonly data: Uint8ClampedArray };
}
async function open(): Promise<Opened> {
  const page = await app.newPage();
  const complaints: string[] = [];
  const requests: string[] = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => requests.push(request.url()));
  page.on("websocket", (socket) => requests.push(socket.url()));
  await page.goto(app.url);
  await ready(page);
  return { page, complaints, requests };
}

describe("the browser app", () => {
  let opened: Opened;
  beforeAll(async () => {
    opened = await open();
  });

  it("answers privately, token for token as Node does, and talks to this machine and the provider only", async () => {
    const { page, complaints, requests } = opened;
    for (const entry of entries.slice(0, 2)) {
      expect(await ask(page, entry.word)).toEqual(expected(entry));
      const shown = await page.locator(".turn").last().locator(".private .text").textContent();
      expect(shown?.trim()).toBe(entry.adapter.text);
    }
    expect(complaints).toEqual([]);
    const origins = [...new Set(requests.map((request) => new URL(request).origin))];
    expect(origins.filter((origin) => !/^(http|ws):\/\/127\.0\.0\.1:\d+$/.test(origin))).toEqual([]);
    expect(origins).toHaveLength(2);
  });

  it("shows what the provider sees and where the time goes", async () => {
    const { page } = opened;
    const counted = await page.locator("#queries").textContent();
    expect(Number(counted?.replaceAll(",", ""))).toBeGreaterThanOrEqual(24 * entries[0].adapter.ids.length);
    // A token's 24 queries go in 13 exchanges, a prompt's of a few tokens in 24.
    const waits = Number(await page.locator("#round-trips").textContent());
    expect(waits).toBeGreaterThan(12);
    expect(waits).toBeLessThan(20);
    expect(await page.locator("#times tr").count()).toBe(24);
    // As many shades of grey as noise has.
    const shades = await page.locator("#ciphertext").evaluate((node) => {
      const canvas = node as unknown as { width: number; height: number; getContext(kind: string): Context };
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return new Set(data.filter((_, i) => i % 4 === 0)).size;
    });
    expect(shades).toBe(256);
    const screenshot = await page.screenshot();
    expect(screenshot.subarray(1, 4).toString()).toBe("PNG");
    expect(screenshot.length).toBeGreaterThan(20_000); // an empty page is far smaller
  });

  it("stops an answer on Escape, and goes on", async () => {
    const { page } = opened;
    await page.locator("#question").fill(entries[0].word);
    await page.keyboard.press("Enter");
    const turn = page.locator(".turn").last();
    await turn.locator('[data-side="private"] .text', { hasText: /\S/ }).waitFor();
    await page.keyboard.press("Escape");
    await turn.locator('[data-side="private"][data-ids]').waitFor(PATIENCE);
    await page.locator("#send:not([disabled])").waitFor(PATIENCE);
    expect((await ask(page, entries[1].word)).private).toBe(entries[1].adapter.ids.join(","));
  });

  it("has no accessibility violations, in light and dark colours, with everything unfolded", async () => {
    const { page } = opened;
    await page.locator("details").evaluateAll((all) => {
      for (const details of all) details.setAttribute("open", "");
    });
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      expect(await violations(page)).toEqual([]);
    }
    await page.locator("details").evaluateAll((all) => {
      for (const details of all) details.removeAttribute("open");
    });
  });

  it("fits a phone", async () => {
    const { page } = opened;
    await page.setViewportSize({ width: 360, height: 740 });
    const { wide, screen } = await page.locator("html").evaluate((root) => {
      const { scrollWidth, clientWidth } = root as unknown as { scrollWidth: number; clientWidth: number };
      return { wide: scrollWidth, screen: clientWidth };
    });
    expect(wide).toBeLessThanOrEqual(screen);
  });

  it("opens again from its caches when only the provider is left", async () => {
    const { page } = opened;
    await page.reload(); // through the service worker
    await ready(page);
    await page.context().route(
      (address) => address.origin === new URL(app.url).origin,
      (route) => route.abort(),
    );
    await page.reload();
    await ready(page);
    expect((await ask(page, entries[2].word)).private).toBe(entries[2].adapter.ids.join(","));
  });
});
