/** Quantized weights on every family: fused, stored (in, out), tied and of widths that fill no block. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openPrivateModel } from "../../src/client/private-model.ts";
import { fitAdapter } from "../../src/model/adapter/fit-adapter.ts";
import { LocalLora } from "../../src/model/adapter/local-lora.ts";
import { CausalLm } from "../../src/model/causal-lm.ts";
import type { WeightFormat } from "../../src/model/weights/weight-source.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { FAMILIES } from "../../tools/checkpoint/shapes.ts";
import { greedyIds, lexicon, lexiconEntries } from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";
import { seededModel } from "../support/seeded-models.ts";

const dir = mkdtempSync(join(tmpdir(), "tacet-families-"));
afterAll(async () => {
  await stopProviders();
  rmSync(dir, { recursive: true, force: true });
});
const weightCache = nodeFileCache(join(dir, "cache"));

async function logitsOf(base: string, weights: WeightFormat): Promise<Float32Array> {
  const checkpoint = await openCheckpoint(nodeFileTree(base));
  const model = await CausalLm.load(checkpoint, nodePlatform().tensors, { weights, weightCache });
  try {
    return await model.forward([5, 17, 200, 33, 9, 121], model.newCache());
  } finally {
    await model.dispose();
  }
}

function distance(got: Float32Array, want: Float32Array): number {
  const rms = (values: Float32Array) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
  return rms(got.map((v, i) => v - want[i])) / rms(want);
}

describe.each(FAMILIES)("%s", (family) => {
  it("int8 is close to the original weights, int4 closer than noise", async () => {
    const { base } = seededModel(dir, family);
    const original = await logitsOf(base, "original");
    expect(distance(await logitsOf(base, "int8"), original)).toBeLessThan(0.05);
    expect(distance(await logitsOf(base, "int4"), original)).toBeLessThan(0.4);
  });
});

describe("with a provider", () => {
  it("4-bit weights give privately what they give with the adapter in plaintext", async () => {
    const test = await lexicon();
    const state = join(dir, "state");
    // The bundle names the original checkpoint, and the client finds it to be its own.
    await test.writeState(state);
    const { url } = await startProvider(state);
    const options = { weights: "int4", weightCache } as const;
    const remote = await openPrivateModel(nodePlatform(), {
      base: test.checkpoint,
      provider: url,
      ...options,
    });
    const deltas = new LocalLora(await fitAdapter(test.adapter, test.checkpoint));
    const plain = await CausalLm.load(test.checkpoint, nodePlatform().tensors, { deltas, ...options });
    for (const { prompt_ids } of lexiconEntries().slice(0, 2)) {
      const [cache, plainCache] = [remote.model.newCache(), plain.newCache()];
      const got = await remote.model.forwardAll(prompt_ids, cache);
      const want = await plain.forwardAll(prompt_ids, plainCache);
      expect(distance(got, want)).toBeLessThan(0.03);
      expect((await greedyIds(remote.model, prompt_ids, { maxNewTokens: 4 })).length).toBeGreaterThan(0);
    }
    expect(remote.provider.traffic.roundTrips).toBeGreaterThan(0);
    await remote.close();
    await plain.dispose();
  });
});
