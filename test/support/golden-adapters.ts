/** Adapters of every kind that PEFT's LoRA writes, each with its base and what transformers and peft compute. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** A few of them, in the repository. */
const HERE = join(ROOT, "test/fixtures/golden-peft");
/** All of them, where the folder is beside the repository. */
const ALL = join(ROOT, "../shared/golden-peft");

export interface GoldenAdapter {
  readonly name: string;
  readonly base: string;
  readonly adapter: string;
  readonly expected: {
    readonly input_ids: readonly number[];
    readonly logits_last: readonly number[];
    readonly logits_last_adapter: readonly number[];
    readonly greedy_ids_adapter: readonly number[];
  };
}

/** All where ../shared is present, else those of the repository. */
export const goldenAdapters = (): GoldenAdapter[] => adaptersOf(existsSync(ALL) ? ALL : HERE);
export const inRepository = (): GoldenAdapter[] => adaptersOf(HERE);

function adaptersOf(root: string): GoldenAdapter[] {
  const names = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return names
    .map(({ name }) => name)
    .sort()
    .map((name) => ({
      name,
      base: join(root, name),
      adapter: join(root, name, "adapter"),
      expected: JSON.parse(readFileSync(join(root, name, "expected.json"), "utf8")),
    }));
}

/** What the files were made for: |got − want| ≤ 2e-4 + 1e-4·|want|. 1 is the bound. */
export function worstOf(got: ArrayLike<number>, want: readonly number[]): number {
  return want.reduce(
    (worst, value, i) => Math.max(worst, Math.abs(got[i] - value) / (2e-4 + 1e-4 * Math.abs(value))),
    0,
  );
}
