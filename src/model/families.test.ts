/**
 * Every family against numbers that transformers and peft computed: tiny checkpoints in `test/fixtures/golden-hf`, and
 * all of them where the folder that they were chosen from lies beside the repository.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { generate } from "../generation/generate.ts";
import { nodeFileTree } from "../platform/node/files/file-tree.ts";
import { nodeTensorRuntime } from "../platform/node/tensors.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import { openLoraAdapter } from "../weights/lora-adapter.ts";
import { fitAdapter } from "./adapter/fit-adapter.ts";
import { LocalLora } from "./adapter/local-lora.ts";
import { CausalLm, type LoadOptions } from "./causal-lm.ts";
import type { RawConfig } from "./architectures/config-fields.ts";
import { describeDecoder } from "./architectures/registry.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const FOLDERS = ["test/fixtures/golden-hf", "../shared/golden-hf"].map((path) => join(root, path));
const names = new Map(
  FOLDERS.filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((name) => [name, join(folder, name)] as const))
    .filter(([, path]) => existsSync(join(path, "expected.json")))
    .filter(([, path]) => isKnown(JSON.parse(readFileSync(join(path, "config.json"), "utf8")))),
);

function isKnown(config: RawConfig): boolean {
  try {
    describeDecoder({ config });
    return true;
  } catch {
    return false;
  }
}

interface Golden {
  readonly input_ids: number[];
  readonly logits_last: number[];
  readonly greedy_ids: number[];
  readonly logits_last_adapter: number[];
  readonly greedy_ids_adapter: number[];
}

const models: CausalLm[] = [];
afterEach(async () => {
  await Promise.all(models.splice(0).map((model) => model.dispose()));
});

async function load(checkpoint: Checkpoint, options: LoadOptions = {}): Promise<CausalLm> {
  const model = await CausalLm.load(checkpoint, nodeTensorRuntime(), options);
  models.push(model);
  return model;
}

async function greedy(model: CausalLm, promptIds: number[]): Promise<number[]> {
  const ids: number[] = [];
  for await (const { id } of generate(model, promptIds, { maxNewTokens: 12, eosIds: [] })) ids.push(id);
  return ids;
}

/** Of the README beside the numbers: the largest error in units of what is allowed. */
function worst(got: Float32Array, want: readonly number[]): number {
  expect(got).toHaveLength(want.length);
  return want.reduce((most, w, i) => Math.max(most, Math.abs(got[i] - w) / (2e-4 + 1e-4 * Math.abs(w))), 0);
}

async function expectGolden(model: CausalLm, want: Golden, suffix: "" | "_adapter"): Promise<void> {
  const logits = await model.forward(want.input_ids, model.newCache());
  expect(worst(logits, want[`logits_last${suffix}`])).toBeLessThan(1);
  expect(await greedy(model, want.input_ids)).toEqual(want[`greedy_ids${suffix}`]);
}

describe.each([...names])("%s", (_, folder) => {
  const want = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8")) as Golden;

  it("gives the base model's logits and greedy ids", async () => {
    await expectGolden(await load(await openCheckpoint(nodeFileTree(folder))), want, "");
  });

  it("gives the adapted model's, cut into segments and in one graph", async () => {
    const checkpoint = await openCheckpoint(nodeFileTree(folder));
    const adapter = await openLoraAdapter(nodeFileTree(join(folder, "adapter")));
    const deltas = new LocalLora(adapter, fitAdapter(adapter, checkpoint));
    await expectGolden(await load(checkpoint, { deltas }), want, "_adapter");
    await expectGolden(await load(checkpoint, { adapter }), want, "_adapter");
  });
});
