/**
 * The browser app over a GGUF file, whole and in parts: its blocks, tokenizer and template, and an adapter that was made for
 * the original.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser } from "playwright";
import { afterAll, beforeAll, expect, it } from "vitest";
import { folderGguf } from "../../../tools/gguf/from-folder.ts";
import { writeParts } from "../../../tools/gguf/split-gguf.ts";
import { bpeMetadata } from "../../../tools/gguf/tokenizer-metadata.ts";
import { writeGguf } from "../../../tools/gguf/write-gguf.ts";
import { temporaryFolder } from "../../support/models.ts";
import { ask, entries, expected, ROOT, type RunningApp, ready, startApp, startBrowser } from "./support.ts";

const folder = temporaryFolder();
const apps: RunningApp[] = [];
let browser: Browser | undefined;
beforeAll(async () => {
  const base = join(ROOT, "models/lexicon/base");
  const json = (name: string) => JSON.parse(readFileSync(join(base, name), "utf8"));
  const tokenizer = bpeMetadata(json("tokenizer.json"), json("tokenizer_config.json"), "gpt-2");
  const file = await folderGguf(base, { type: "Q8_0", tokenizer });
  const whole = join(folder.path, "model.gguf");
  writeGguf(whole, file);
  const [, part] = writeParts(join(folder.path, "model"), file, [30, file.tensors.length - 30]);
  for (const path of [whole, part]) apps.push(await startApp({ args: ["--base", path] }));
  browser = await startBrowser();
});
afterAll(async () => {
  await browser?.close();
  for (const app of apps) await app.stop();
  folder.remove();
});

it.each([
  ["one file", 0],
  ["parts", 1],
])("in %s answers privately what the original answers", async (_, which) => {
  const page = await browser!.newPage();
  await page.goto(apps[which].url);
  await ready(page);
  const entry = entries.find(({ word }) => word === "battery")!;
  expect(await ask(page, entry.word)).toEqual(expected(entry));
  await page.close();
});
