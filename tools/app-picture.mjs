// Makes docs/app.png: starts `tacet web` as a user does, asks it two words in Chromium, and takes a picture.
//   node tools/build.mjs --app && node tools/app-picture.mjs [FILE]
// CHROMIUM_PATH names the browser; Debian's is the default.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright";

const root = fileURLToPath(new URL("..", import.meta.url));
const file = process.argv[2] ?? `${root}docs/app.png`;
const WORDS = ["tender", "consideration"];
const TIMEOUT = { timeout: 60_000 };

const app = spawn(process.execPath, ["dist/cli/main.js", "web", "--port", "0"], {
  cwd: root,
  stdio: ["ignore", "pipe", "inherit", "ipc"],
});
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM_PATH ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 870 }, colorScheme: "light" });
  await page.goto(await address());
  await page.locator("#status", { hasText: /^Ready$/ }).waitFor(TIMEOUT);
  await page.locator("#facts", { hasText: "Kept in this browser" }).waitFor(TIMEOUT);
  for (const word of WORDS) {
    await page.locator("#question").fill(word);
    await page.keyboard.press("Enter");
    await page.locator(".turn").last().locator(".private[data-ids]").waitFor(TIMEOUT);
    await page.locator("#send:not([disabled])").waitFor(TIMEOUT);
  }
  writeFileSync(file, await page.screenshot());
  console.log(`wrote ${file}`);
} finally {
  await browser.close();
  const ended = once(app, "exit");
  app.kill("SIGTERM");
  await ended;
}

/** What `tacet web` prints once it can be opened. */
async function address() {
  for await (const line of createInterface({ input: app.stdout })) {
    const url = /^open (http:\S+)$/.exec(line)?.[1];
    if (url !== undefined) return url;
  }
  throw new Error("tacet web ended before it printed its address");
}
