/** Tiny checkpoints of many families, written and computed by transformers, each with an adapter of peft's. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** What the repository carries, and all of them, where they lie beside it. */
const FOLDERS = [join(ROOT, "test/fixtures/golden-hf"), join(ROOT, "../shared/golden-hf")];

export interface GoldenHf {
  readonly input_ids: readonly number[];
  readonly logits_last: readonly number[];
  readonly greedy_ids: readonly number[];
  readonly logits_last_adapter: readonly number[];
  readonly greedy_ids_adapter: readonly number[];
}

/** Of the names asked for, or of all, those that are there. */
export function goldenHfNames(wanted?: readonly string[]): string[] {
  const there = new Set(
    FOLDERS.filter((folder) => existsSync(folder)).flatMap((folder) => readdirSync(folder)),
  );
  const names = wanted ?? [...there].sort();
  return names.filter((name) => there.has(name) && existsSync(join(goldenHfFolder(name), "expected.json")));
}

/** Holds the checkpoint, expected.json and the folder "adapter". */
export function goldenHfFolder(name: string): string {
  return FOLDERS.map((folder) => join(folder, name)).find((folder) => existsSync(folder)) ?? FOLDERS[0];
}

export function goldenHfOf(name: string): GoldenHf {
  return JSON.parse(readFileSync(join(goldenHfFolder(name), "expected.json"), "utf8")) as GoldenHf;
}
