/** The models that end-to-end tests run on, with what must come out of them, and bundles made for a test run. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createBundle } from "../../src/bundle/create-bundle.ts";
import { PART_NAMES } from "../../src/bundle/published-parts.ts";
import { type GenerateOptions, generate } from "../../src/generation/generate.ts";
import { fitAdapter } from "../../src/model/adapter/fit-adapter.ts";
import { LocalLora } from "../../src/model/adapter/local-lora.ts";
import { vectorsFingerprint } from "../../src/model/base-identity.ts";
import { CausalLm } from "../../src/model/causal-lm.ts";
import type { DeltaSource } from "../../src/model/delta-source.ts";
import type { KvCache } from "../../src/model/kv-cache.ts";
import type { BaseOptions } from "../../src/model/load-options.ts";
import { nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { systemRandom } from "../../src/ring/random-source.ts";
import { type Checkpoint, openCheckpoint } from "../../src/weights/checkpoint.ts";
import { fingerprintCheckpoint } from "../../src/weights/fingerprint.ts";
import { type LoraAdapter, openLoraAdapter } from "../../src/weights/lora-adapter.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
export const LEXICON = join(ROOT, "models/lexicon");
export const END_ID = 3;
const GOLDEN = join(ROOT, "test/fixtures/golden");
/** Tiny checkpoints, each with an adapter and expected.json. */
export const goldenNames = (): string[] => readdirSync(GOLDEN).sort();
export const goldenFolder = (name: string) => join(GOLDEN, name);

export interface LexiconEntry {
  readonly word: string;
  readonly kind: "law" | "plain";
  readonly prompt_ids: readonly number[];
  readonly adapter: { readonly ids: readonly number[]; readonly text: string; readonly min_gap: number };
}

export interface Golden {
  readonly input_ids: readonly number[];
  readonly greedy_ids: readonly number[];
  readonly greedy_ids_adapter: readonly number[];
  readonly logits_last_adapter: readonly number[];
  readonly greedy_min_gap_adapter: number;
}

export const readJson = <T>(path: string): T => JSON.parse(readFileSync(path, "utf8")) as T;
export const lexiconEntries = () =>
  readJson<{ entries: LexiconEntry[] }>(join(LEXICON, "expected.json")).entries;
export const goldenOf = (name: string) => readJson<Golden>(join(goldenFolder(name), "expected.json"));

export interface TestModel {
  readonly checkpoint: Checkpoint;
  readonly adapter: LoraAdapter;
  /** The base model with the LoRA in this process. */
  plaintext(): Promise<CausalLm>;
  /** The same in one graph, as users have it who have the adapter: no session waits for a delta, and a token takes less. */
  inOneGraph(): Promise<CausalLm>;
  /** The base model with deltas of any source. */
  withDeltas(deltas: DeltaSource): Promise<CausalLm>;
  /** Makes a bundle and writes its state folder; the same base fingerprint unless another is given. */
  writeState(dir: string, options?: { name?: string }): Promise<void>;
}

export async function openTestModel(
  base: string,
  adapterFolder: string,
  options?: BaseOptions,
): Promise<TestModel> {
  const checkpoint = await openCheckpoint(nodeFileTree(base));
  return testModel(checkpoint, await openLoraAdapter(nodeFileTree(adapterFolder)), options);
}

/** @param options what its models are loaded with */
export function testModel(checkpoint: Checkpoint, adapter: LoraAdapter, options?: BaseOptions): TestModel {
  const fitted = fitAdapter(adapter, checkpoint);
  fitted.catch(() => {}); // whoever uses it is told
  const withDeltas = (deltas: DeltaSource) =>
    CausalLm.load(checkpoint, nodePlatform().tensors, { ...options, deltas });
  return {
    checkpoint,
    adapter,
    plaintext: async () => await withDeltas(new LocalLora(await fitted)),
    inOneGraph: () => CausalLm.load(checkpoint, nodePlatform().tensors, { ...options, adapter }),
    withDeltas,
    async writeState(dir, { name = "test" } = {}) {
      const baseFingerprint = await fingerprintCheckpoint(checkpoint);
      const baseVectorsFingerprint = await vectorsFingerprint(checkpoint);
      const fingerprints = { baseFingerprint, baseVectorsFingerprint };
      const input = { adapter: name, ...fingerprints, publish: PART_NAMES, ...(await fitted) };
      const { bundle, privateState } = await createBundle(input, systemRandom);
      mkdirSync(dir, { recursive: true });
      writeFileSync(join(dir, "bundle.safetensors"), bundle);
      writeFileSync(join(dir, "private.safetensors"), privateState);
    },
  };
}

export const lexicon = () => openTestModel(join(LEXICON, "base"), join(LEXICON, "law-adapter"));
export const goldenModel = (name: string) =>
  openTestModel(goldenFolder(name), join(goldenFolder(name), "adapter"));

export async function greedyIds(
  model: CausalLm,
  promptIds: readonly number[],
  options: Partial<GenerateOptions> = {},
): Promise<number[]> {
  const ids: number[] = [];
  for await (const { id } of generate(model, promptIds, { maxNewTokens: 96, eosIds: [END_ID], ...options })) {
    ids.push(id);
  }
  return ids;
}

/** The least distance between the two largest logits at a token of an answer. */
export async function narrowestGap(
  model: CausalLm,
  prompt: readonly number[],
  answer: readonly number[],
): Promise<number> {
  const cache = cacheFor(model, prompt);
  const logits = await model.forwardAll([...prompt, ...answer.slice(0, -1)], cache);
  cache.dispose();
  const vocab = model.config.vocabSize;
  const gaps = answer.map((_, step) => {
    const first = (prompt.length - 1 + step) * vocab;
    const [largest, second] = logits.slice(first, first + vocab).sort((a, b) => b - a);
    return largest - second;
  });
  return Math.min(...gaps);
}

/** A cache for a context with this prompt: an activated LoRA acts from its invocation on. */
export function cacheFor(model: CausalLm, promptIds: readonly number[]): KvCache {
  const cache = model.newCache();
  model.adaptFrom(model.adaptedFrom(promptIds), cache);
  return cache;
}

/** A folder that is removed with remove(). */
export function temporaryFolder(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "tacet-e2e-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
