/**
 * Activated LoRA, against PEFT's own numbers: plaintext, and through a provider process, which must not see a vector for
 * the tokens before the invocation.
 */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openPrivateModel } from "../../src/client/private-model.ts";
import { CausalLm } from "../../src/model/causal-lm.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import {
  type Golden,
  greedyIds,
  openTestModel,
  readJson,
  type TestModel,
  temporaryFolder,
} from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";

const FOLDERS = join(import.meta.dirname, "../fixtures/golden-peft");
const NAMES = ["alora", "alora-all7", "alora-absent"];
const OPTIONS = { maxNewTokens: 10, eosIds: [] };

const folder = temporaryFolder();
afterAll(async () => {
  await stopProviders();
  folder.remove();
});

function close(got: Float32Array, want: readonly number[], bound: (want: number) => number): void {
  for (const [i, value] of want.entries()) expect(Math.abs(got[i] - value)).toBeLessThanOrEqual(bound(value));
}

describe.each(NAMES)("%s", (name) => {
  let want: Golden;
  let test: TestModel;
  beforeAll(async () => {
    want = readJson<Golden>(join(FOLDERS, name, "expected.json"));
    test = await openTestModel(join(FOLDERS, name), join(FOLDERS, name, "adapter"));
  });

  it.each(["a source of deltas", "an adapter to load"])("in plaintext, as %s", async (kind) => {
    const warnings: string[] = [];
    const { tensors } = nodePlatform();
    const model =
      kind === "a source of deltas"
        ? await test.plaintext()
        : await CausalLm.load(test.checkpoint, tensors, {
            adapter: test.adapter,
            onWarning: (message) => warnings.push(message),
          });
    expect(await greedyIds(model, want.input_ids, OPTIONS)).toEqual(want.greedy_ids_adapter);
    const cache = model.newCache();
    cache.adaptFrom(model.adaptedFrom(want.input_ids));
    const logits = await model.forward(want.input_ids, cache);
    close(logits, want.logits_last_adapter, (value) => 2e-4 + 1e-4 * Math.abs(value));
    if (kind !== "a source of deltas") expect(warnings.length).toBe(name === "alora-absent" ? 1 : 0);
    await model.dispose();
  });

  it("through a provider, which is asked for nothing before the invocation", async () => {
    const state = join(folder.path, name);
    await test.writeState(state);
    const started = await startProvider(state, { args: ["--metrics-port", "0"] });
    const { url } = started;
    const status = /"type":"status".*?"url":"([^"]+)"/.exec(started.log())?.[1];
    const remote = await openPrivateModel(nodePlatform(), {
      base: test.checkpoint,
      provider: url,
      lookAhead: false,
    });
    const { model, provider, adapter } = remote;
    const cache = model.newCache();
    const from = model.adaptedFrom(want.input_ids);
    cache.adaptFrom(from);
    const logits = await model.forward(want.input_ids, cache);
    close(logits, want.logits_last_adapter, () => 0.02);
    const active = Math.max(0, want.input_ids.length - from);
    // Where the line is slow a prompt is read in parts, and but for its last token nobody is asked at the last layer for
    // what only logits need.
    const { layer: last } = adapter.groups.at(-1)!;
    const behind = adapter.groups.filter(({ layer }) => layer === last).length - 1;
    const expectVectors = (asked: number, tokens: number, prompts: number) => {
      const all = tokens * adapter.groups.length;
      expect(asked).toBeLessThanOrEqual(all);
      expect(asked).toBeGreaterThanOrEqual(all - prompts * Math.max(0, active - 1) * behind);
    };
    expectVectors(provider.traffic.vectors, active, 1);
    const ids = await greedyIds(model, want.input_ids, OPTIONS);
    expect(ids).toEqual(want.greedy_ids_adapter);
    // The last new token is never read.
    const read = active === 0 ? 0 : active + OPTIONS.maxNewTokens - 1;
    expectVectors(provider.traffic.vectors, active + read, 2);
    const metrics = await (await fetch(`${status}/metrics`)).text();
    const seen = /^tacet_vectors_total\{.*\} (\d+)$/m.exec(metrics)?.[1];
    expect(Number(seen ?? 0)).toBe(provider.traffic.vectors);
    await remote.close();
  });
});
