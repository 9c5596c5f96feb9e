/** The conversation as one sees it: the newest answer is never hidden, whatever the screen; questions are forgiven. */
import type { Page } from "playwright";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ask, entries, expected, PATIENCE, picture, ready, useApp } from "./support.ts";

const app = useApp();

async function open(viewport: { width: number; height: number }): Promise<Page> {
  const page = await app.newPage({ viewport });
  await page.goto(app.url);
  await ready(page);
  return page;
}

interface Rect {
  readonly top: number;
  readonly bottom: number;
  readonly left: number;
  readonly width: number;
}
/** What is used of the browser's own types, which Node's tests do not have. */
interface Node {
  readonly ownerDocument: { elementFromPoint(x: number, y: number): Node | null };
  getBoundingClientRect(): Rect;
  contains(other: Node | null): boolean;
}

/** Whether the end of an element is what one sees at its place: nothing lies over it, nothing cuts it off. */
async function isSeen(page: Page, selector: string): Promise<boolean> {
  return await page
    .locator(selector)
    .last()
    .evaluate((found) => {
      const node = found as unknown as Node;
      const { bottom, top, left, width } = node.getBoundingClientRect();
      const at = (y: number) => node.contains(node.ownerDocument.elementFromPoint(left + width / 2, y));
      return at(bottom - 2) && at(Math.max(top + 2, bottom - 150));
    });
}

/** Lets the page lay out and scroll what it has been told. */
async function drawn(page: Page): Promise<void> {
  await page.evaluate(
    () =>
      new Promise<void>((resolve) => {
        const { requestAnimationFrame: next } = globalThis as unknown as {
          requestAnimationFrame(run: () => void): void;
        };
        next(() => next(resolve));
      }),
  );
}

describe.each([
  ["desktop", { width: 1280, height: 800 }],
  ["phone", { width: 390, height: 844 }],
  ["small phone", { width: 320, height: 568 }],
])("on a %s", (name, viewport) => {
  it("the newest answer is in view at each of many turns, and the composer leaves it room", async () => {
    const page = await open(viewport);
    await picture(page, `${name}-first`);
    expect(await isSeen(page, "#welcome h2"), "the first screen from its beginning").toBe(true);
    for (const entry of entries.slice(0, 8)) {
      await ask(page, entry.word);
      await drawn(page);
      expect(await isSeen(page, ".turn .answer.private"), entry.word).toBe(true);
      expect(await isSeen(page, ".turn .foot"), entry.word).toBe(true);
    }
    await picture(page, `${name}-many`);
    const composer = await page.locator(".composer").boundingBox();
    expect(composer!.y + composer!.height).toBeLessThanOrEqual(viewport.height);
    expect(composer!.height).toBeLessThan(viewport.height / 5);
    await page.close();
  });
});

describe("questions", () => {
  let page: Page;
  beforeAll(async () => {
    page = await open({ width: 1280, height: 800 });
  });
  afterAll(async () => await page.close());

  it("can be begun by a click on an example, below a sentence that says what the model is", async () => {
    await page.locator("#welcome", { hasText: /small dictionary/ }).waitFor(PATIENCE);
    const examples = await page.locator("#examples button").allTextContents();
    expect(examples.length).toBeGreaterThan(3);
    const known = entries.map(({ word }) => word);
    expect(examples.filter((word) => word !== "arson" && !known.includes(word))).toEqual([]);
    await page.locator("#examples button", { hasText: "tender" }).click();
    const tender = entries.find(({ word }) => word === "tender")!;
    const card = page.locator(".turn .private[data-ids]");
    await card.waitFor(PATIENCE);
    expect(await card.getAttribute("data-ids")).toBe(expected(tender).private);
    expect(await page.locator("#welcome").isVisible()).toBe(false);
    expect(await page.locator(".turn .note").count()).toBe(0);
  });

  it("about a word are forgiven capital letters and marks, and say what was looked up", async () => {
    const bail = entries.find(({ word }) => word === "bail")!;
    for (const typed of ["Bail?", "What does “Bail” mean?"]) {
      expect(await ask(page, typed)).toEqual(expected(bail));
      expect(await page.locator(".turn").last().locator(".note").textContent()).toBe("Looked up as “bail”.");
    }
    await ask(page, "Can I keep the deposit?");
    expect(await page.locator(".turn").last().locator(".note").textContent()).toMatch(/single words only/);
  });

  it("can be asked again, in the place of the answer that is there; answers can be copied", async () => {
    await ask(page, "battery");
    const count = await page.locator(".turn").count();
    const card = page.locator(".turn").last().locator(".private[data-ids]");
    const ids = await card.getAttribute("data-ids");
    const before = await page.locator("#queries").textContent();
    await page.locator(".turn").last().getByText("Ask again").click();
    await page.locator("#stop").waitFor(PATIENCE);
    await page.locator("#send:not([disabled])").waitFor(PATIENCE);
    expect(await card.getAttribute("data-ids")).toBe(ids);
    expect(await page.locator(".turn").count()).toBe(count);
    expect(await page.locator("#queries").textContent()).not.toBe(before);
    expect(await page.locator(".foot:visible").count()).toBe(1);

    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await card.getByText("Copy").click();
    await card.getByText("Copied").waitFor(PATIENCE);
    const copied = await page.evaluate(() =>
      (
        globalThis as unknown as { navigator: { clipboard: { readText(): Promise<string> } } }
      ).navigator.clipboard.readText(),
    );
    expect(copied).toBe(entries.find(({ word }) => word === "battery")!.adapter.text);
  });

  it("are forgotten by a new conversation, which shows the first screen again", async () => {
    await page.locator("#clear").click();
    expect(await page.locator(".turn").count()).toBe(0);
    await page.locator("#examples").waitFor(PATIENCE);
  });
});
