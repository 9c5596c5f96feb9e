/** What a provider allows decides whether, and when, its groups are asked ahead (src/model/run/look-ahead.ts). */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openPrivateModel, type PrivateModel } from "../../src/client/private-model.ts";
import type { QueryTransport } from "../../src/client/query-transport.ts";
import { RemoteAdapter } from "../../src/client/remote-adapter.ts";
import { changeKeys } from "../../src/library/node-data-folder.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import { createApiKey } from "../../src/provider/api-keys.ts";
import { systemRandom } from "../../src/ring/random-source.ts";
import { lexicon, lexiconEntries, type TestModel, temporaryFolder } from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";

const folder = temporaryFolder();
const state = join(folder.path, "state");
const RANK = 8;
/** Of four groups in six layers the first and the last stand alone. */
const PAIRS = 11;
let test: TestModel;
beforeAll(async () => {
  test = await lexicon();
  await test.writeState(state);
});
afterAll(async () => {
  await stopProviders();
  folder.remove();
});

const [{ prompt_ids: prompt, adapter }] = lexiconEntries();

/** Segments that each of some decode steps runs, after a prompt, and the vectors asked for in all. */
async function decode(
  { model, provider }: PrivateModel,
  steps: number,
): Promise<{ runs: number[]; vectors: number }> {
  const cache = model.newCache();
  await model.forward(prompt, cache);
  const before = provider.traffic.vectors;
  const runs: number[] = [];
  for (let i = 0; i < steps; i++) {
    const { sessionRuns } = model.timings;
    await model.forward([adapter.ids[i % adapter.ids.length]], cache);
    runs.push(model.timings.sessionRuns - sessionRuns);
  }
  return { runs, vectors: provider.traffic.vectors - before };
}

it("is off where the provider takes one query at a time", async () => {
  const { url } = await startProvider(state, { args: ["--max-in-flight", "1"] });
  const joined = await openPrivateModel(nodePlatform(), { base: test.checkpoint, provider: url });
  const groups = joined.adapter.groups.length;
  expect(await decode(joined, 2)).toEqual({ runs: [2 * groups + 1, 2 * groups + 1], vectors: 2 * groups });
  await joined.close();
});

it("never has more queries open than the provider takes, however many contexts there are", async () => {
  const { url } = await startProvider(state);
  const joined = await openPrivateModel(nodePlatform(), { base: test.checkpoint, provider: url });
  let [open, most] = [0, 0];
  const query: QueryTransport["query"] = async (...asked) => {
    most = Math.max(most, ++open);
    await new Promise((resolve) => setTimeout(resolve, 2));
    return await joined.provider.query(...asked).finally(() => open--);
  };
  const limits = { ...joined.provider.welcome.limits, maxInFlight: 3 };
  const adapter = new RemoteAdapter(
    joined.bundle,
    { query, fetchKey: () => joined.provider.fetchKey() },
    limits,
  );
  const x = Float32Array.from({ length: adapter.groups[0].inFeatures }, (_, i) => Math.sin(i));
  const answers = await Promise.all(Array.from({ length: 10 }, () => adapter.begin(0, x, 1).wait()));
  expect([open, most]).toEqual([0, 3]);
  for (const [delta] of answers) expect(Math.abs(delta[0] - answers[0][0][0])).toBeLessThan(0.05);
  adapter.dispose();
  await joined.close();
});

it.each([
  ["asks for the effects when they cost no more than a quarter of what was read", 1000, PAIRS * RANK],
  // Prompt and 32 steps leave 7 for each group.
  ["goes on without where the budget does not bear them", prompt.length + 4 * RANK + RANK - 1, 0],
])("with a budget %s", async (_, vectors, cost) => {
  const data = join(folder.path, `data-${vectors}`);
  const { key, record } = createApiKey({ budget: { vectors, windowSeconds: 0 } }, Date.now(), systemRandom);
  await changeKeys(data, () => [record]);
  const { url } = await startProvider(state, { args: ["--data", data] });
  const joined = await openPrivateModel(nodePlatform(), { base: test.checkpoint, provider: url, token: key });
  const groups = joined.adapter.groups.length;
  expect((await decode(joined, 4 * RANK)).vectors).toBe(4 * RANK * groups);
  const cache = joined.model.newCache();
  await joined.model.forward([prompt[0]], cache);
  expect(joined.provider.traffic.vectors).toBe((prompt.length + 4 * RANK + 1) * groups + cost);
  await joined.close();
});
