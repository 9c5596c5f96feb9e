/** The browser app over a GGUF file: its blocks, tokenizer and template, and an adapter that was made for the original. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser } from "playwright";
import { afterAll, beforeAll, expect, it } from "vitest";
import { folderGguf } from "../../../tools/gguf/from-folder.ts";
import { bpeMetadata } from "../../../tools/gguf/tokenizer-metadata.ts";
import { writeGguf } from "../../../tools/gguf/write-gguf.ts";
import { temporaryFolder } from "../../support/models.ts";
import { ask, entries, expected, ROOT, type RunningApp, ready, startApp, startBrowser } from "./support.ts";

const folder = temporaryFolder();
let app: RunningApp | undefined;
let browser: Browser | undefined;
beforeAll(async () => {
  const base = join(ROOT, "models/lexicon/base");
  const json = (name: string) => JSON.parse(readFileSync(join(base, name), "utf8"));
  const tokenizer = bpeMetadata(json("tokenizer.json"), json("tokenizer_config.json"), "gpt-2");
  const path = join(folder.path, "model.gguf");
  writeGguf(path, await folderGguf(base, { type: "Q8_0", tokenizer }));
  app = await startApp({ args: ["--base", path] });
  browser = await startBrowser();
});
afterAll(async () => {
  await browser?.close();
  await app?.stop();
  folder.remove();
});

it("answers privately what the original answers", async () => {
  const page = await browser!.newPage();
  await page.goto(app!.url);
  await ready(page);
  const entry = entries.find(({ word }) => word === "battery")!;
  expect(await ask(page, entry.word)).toEqual(expected(entry));
});
