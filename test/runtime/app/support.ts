/** `tacet web` as its user runs it, and a Chromium that looks at it. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import axe from "axe-core";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright";
import { afterAll, beforeAll } from "vitest";

export const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const MAIN = join(ROOT, "dist/cli/main.js");
/** Long enough for a busy machine; nothing waits for its end where all is well. */
export const PATIENCE = { timeout: 60_000 };

export interface Entry {
  readonly word: string;
  readonly base: { readonly ids: readonly number[]; readonly text: string };
  readonly adapter: { readonly ids: readonly number[]; readonly text: string };
}
export const { entries } = JSON.parse(readFileSync(join(ROOT, "models/lexicon/expected.json"), "utf8")) as {
  readonly entries: readonly Entry[];
};

export interface RunningApp {
  readonly url: string;
  stop(): Promise<void>;
}

/** @param args further options of `tacet web` */
export async function startApp({ port = 0, args = [] }: { port?: number; args?: readonly string[] } = {}) {
  const child: ChildProcess = spawn(process.execPath, [MAIN, "web", "--port", String(port), ...args], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "inherit", "ipc"],
  });
  const ended = once(child, "exit");
  const app: Omit<RunningApp, "url"> = {
    async stop() {
      child.kill("SIGTERM");
      await ended;
    },
  };
  for await (const line of createInterface({ input: child.stdout! })) {
    const url = /^open (http:\S+)$/.exec(line)?.[1];
    if (url !== undefined) return { url, ...app };
  }
  throw new Error("tacet web ended before it printed its address");
}

const LAUNCH = {
  executablePath: process.env.CHROMIUM_PATH ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
};
export const startBrowser = (): Promise<Browser> => chromium.launch(LAUNCH);
/** With WebGPU in software. */
export const startGpuBrowser = (): Promise<Browser> =>
  chromium.launch({
    ...LAUNCH,
    args: [
      ...LAUNCH.args.filter((arg) => arg !== "--disable-gpu"),
      "--enable-unsafe-webgpu",
      "--use-webgpu-adapter=swiftshader",
      "--enable-features=Vulkan",
    ],
  });
/** The app and a browser for all tests of a file. */
export function useApp(): { readonly url: string; newPage: Browser["newPage"] } {
  let app: RunningApp | undefined;
  let browser: Browser | undefined;
  beforeAll(async () => {
    app = await startApp();
    browser = await startBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    await app?.stop();
  });
  return {
    get url() {
      return app!.url;
    },
    newPage: (options) => browser!.newPage(options),
  };
}

/** A browser that keeps what it has seen, as a user's own does. */
export const startProfile = (folder: string): Promise<BrowserContext> =>
  chromium.launchPersistentContext(folder, LAUNCH);

/** A port that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** Makes a key with a budget and gives it. */
export function createKey(data: string, budget: string): string {
  mkdirSync(data, { recursive: true });
  const made = spawnSync(process.execPath, [MAIN, "keys", "create", "--data", data, "--budget", budget]);
  return made.stdout.toString().trim();
}

export const status = (page: Page, text: RegExp) => page.locator("#status", { hasText: text });

export async function ready(page: Page): Promise<void> {
  await status(page, /^Ready$/).waitFor(PATIENCE);
}

/** Types a question and waits for the answers of both sides, or of one. */
export async function ask(page: Page, text: string, side: "base" | "private" = "private") {
  await page.locator("#question").fill(text);
  await page.keyboard.press("Enter");
  const turn = page.locator(".turn").last();
  await turn.locator(`[data-side="${side}"][data-ids]`).waitFor(PATIENCE);
  const ids = (which: string) => turn.locator(`[data-side="${which}"]`).getAttribute("data-ids");
  return { base: (await ids("base")) ?? "", private: (await ids("private")) ?? "" };
}

export const expected = ({ base, adapter }: Entry) => ({
  base: base.ids.join(","),
  private: adapter.ids.join(","),
});

/** Screenshots for people to look at, where TACET_SCREENSHOTS names a folder. */
export async function picture(page: Page, name: string): Promise<void> {
  const folder = process.env.TACET_SCREENSHOTS;
  if (folder === undefined || folder === "") return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.png`), await page.screenshot());
}

interface Report {
  readonly violations: readonly {
    readonly id: string;
    readonly nodes: readonly { readonly html: string }[];
  }[];
}

/** What keeps people from using the page as it stands now, as axe sees it. */
export async function violations(page: Page): Promise<string[]> {
  // Evaluated, not injected: the page's policy allows no foreign script.
  await page.evaluate(axe.source);
  return await page.evaluate(async () => {
    const { axe: checker } = globalThis as unknown as { axe: { run(): Promise<Report> } };
    const report = await checker.run();
    return report.violations.map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 120)}`);
  });
}
