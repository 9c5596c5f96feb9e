/** Tiny checkpoints of many families, written and computed by transformers, each with an adapter of peft's. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** What the repository carries, and larger ones that are beside it on some machines. */
const FOLDERS = { tiny: join(ROOT, "test/fixtures/golden-hf"), shared: join(ROOT, "../shared/golden-hf") };

export interface GoldenHf {
  readonly input_ids: readonly number[];
  readonly logits_last: readonly number[];
  readonly greedy_ids: readonly number[];
  readonly logits_last_adapter: readonly number[];
  readonly greedy_ids_adapter: readonly number[];
}

/** All that are there: "tiny/" or "shared/", and the name. */
export function goldenHfNames(): string[] {
  return Object.entries(FOLDERS).flatMap(([kind, folder]) =>
    (existsSync(folder) ? readdirSync(folder) : [])
      .map((name) => `${kind}/${name}`)
      .filter((name) => existsSync(join(goldenHfFolder(name), "expected.json")))
      .sort(),
  );
}

/** Holds the checkpoint, expected.json and the folder "adapter". */
export function goldenHfFolder(name: string): string {
  const [kind, rest] = name.split("/");
  return join(FOLDERS[kind as keyof typeof FOLDERS], rest);
}

export function goldenHfOf(name: string): GoldenHf {
  return JSON.parse(readFileSync(join(goldenHfFolder(name), "expected.json"), "utf8")) as GoldenHf;
}
