/** The browser app with a base that was not trained for chat: the adapter's own template and end are used. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type Browser, chromium } from "playwright";
import { afterAll, beforeAll, expect, it } from "vitest";
import { LEXICON, lexiconEntries, temporaryFolder } from "../../support/models.ts";
import { startProvider, stopProviders } from "../../support/provider-process.ts";

const MAIN = join(LEXICON, "../../dist/cli/main.js");
const folder = temporaryFolder();
const path = (name: string) => join(folder.path, name);
let app: ChildProcess;
let browser: Browser;
let url = "";

beforeAll(async () => {
  // Copies: `tacet web` hands out no links that lead out of the folder.
  cpSync(join(LEXICON, "base"), path("base"), { recursive: true });
  cpSync(join(LEXICON, "law-adapter"), path("law"), { recursive: true });
  const read = (file: string) => JSON.parse(readFileSync(path(file), "utf8"));
  const write = (file: string, value: object) => writeFileSync(path(file), JSON.stringify(value));
  const { chat_template: template, ...settings } = read("base/tokenizer_config.json");
  write("base/tokenizer_config.json", { ...settings, eos_token: "<|pad|>" });
  write("base/generation_config.json", { ...read("base/generation_config.json"), eos_token_id: 4000 });
  write("law/tokenizer_config.json", { ...settings, chat_template: template });
  const made = spawnSync(process.execPath, [
    ...[MAIN, "bundle", "--base", path("base"), "--adapter", path("law"), "--out", path("state")],
  ]);
  expect(made.status).toBe(0);
  const provider = await startProvider(path("state"));
  const args = [MAIN, "web", "--port", "0", "--base", path("base"), "--provider", provider.url];
  app = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit", "ipc"] });
  for await (const line of createInterface({ input: app.stdout! })) {
    const match = /^open (http:\S+)$/.exec(line);
    if (match === null) continue;
    url = match[1];
    break;
  }
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM_PATH ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
});
afterAll(async () => {
  await browser?.close();
  app?.kill("SIGTERM");
  if (app && app.exitCode === null) await once(app, "exit");
  await stopProviders();
  folder.remove();
});

it("answers as the command line does, and ends with the adapter's turn", async () => {
  const [entry] = lexiconEntries().filter(({ kind }) => kind === "law");
  const page = await browser.newPage();
  await page.goto(url);
  await page.locator("#status", { hasText: /^Ready$/ }).waitFor({ timeout: 60_000 });
  await page.locator("#question").fill(entry.word);
  await page.keyboard.press("Enter");
  const answer = page.locator('.turn [data-side="private"][data-ids]');
  await answer.waitFor({ timeout: 60_000 });
  expect(await answer.getAttribute("data-ids")).toBe(entry.adapter.ids.join(","));
});
