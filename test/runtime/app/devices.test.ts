/** Where the page runs the model, and that it says so. */
import type { Browser } from "playwright";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  ask,
  entries,
  expected,
  PATIENCE,
  type RunningApp,
  ready,
  startApp,
  startBrowser,
  startGpuBrowser,
} from "./support.ts";

let app: RunningApp | undefined;
let withGpu: Browser;
let without: Browser;
beforeAll(async () => {
  [withGpu, without] = await Promise.all([startGpuBrowser(), startBrowser()]);
});
afterAll(async () => {
  await Promise.all([withGpu?.close(), without?.close()]);
});
afterEach(async () => {
  await app?.stop();
  app = undefined;
});

async function open(browser: Browser, ...args: string[]) {
  app = await startApp({ args });
  const page = await browser.newPage();
  await page.goto(app.url);
  return page;
}
/** In software every token takes long. */
const [shortest] = [...entries].sort(
  (a, b) => a.base.ids.length + a.adapter.ids.length - b.base.ids.length - b.adapter.ids.length,
);
const runsOn = "#facts div:has(dt:text-is('Runs on')) dd";

describe("the page", () => {
  it("is isolated, and takes the processor where the only adapter computes on it too", async () => {
    const page = await open(withGpu);
    await ready(page);
    expect(await page.evaluate("crossOriginIsolated")).toBe(true);
    // A small model has no use for a second thread.
    expect(await page.locator(runsOn).textContent()).toBe("processor, one thread; weights as published");
    await page.close();
  });

  it("runs on WebGPU where it is told to, token for token as Node does", async () => {
    const page = await open(withGpu, "--device", "webgpu");
    await ready(page);
    expect(await page.locator(runsOn).textContent()).toMatch(/^GPU \(WebGPU, .+\); weights as published$/);
    expect(await ask(page, shortest.word)).toEqual(expected(shortest));
    await page.close();
  });

  it("makes weights of 8 bits, once, and answers with them", async () => {
    const page = await open(without, "--weights", "int8");
    await ready(page);
    expect(await page.locator(runsOn).textContent()).toBe("processor, one thread; 8-bit weights");
    const { base, private: adapted } = await ask(page, shortest.word);
    expect(base).not.toBe("");
    expect(adapted).not.toBe("");
    await page.close();
  });

  it("says what is missing where a device is asked for that is not there", async () => {
    const page = await open(without, "--device", "webgpu");
    await page.locator("#notice", { hasText: /no device webgpu here/ }).waitFor(PATIENCE);
    await page.close();
  });
});
