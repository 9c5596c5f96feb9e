/** Families held to transformers' numbers: logits, greedy ids, with and without an adapter, in parts, in fewer bits. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { goldenHfFolder, goldenHfNames, goldenHfOf } from "../../test/support/golden-hf.ts";
import { FALSE_ALARM, PredictedFlips } from "../../test/support/predicted-flips.ts";
import {
  documentedKept,
  KEPT_ENOUGH,
  keyOf,
  type Rounded,
  writeRoundingTable,
} from "../../test/support/rounding-table.ts";
import { RouteRecorder } from "../../test/support/route-recorder.ts";
import { poissonQuantile } from "../../test/support/student.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../platform/node.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { openLoraAdapter } from "../weights/lora-adapter.ts";
import { fitAdapter } from "./adapter/fit-adapter.ts";
import { LocalLora } from "./adapter/local-lora.ts";
import { CausalLm } from "./causal-lm.ts";
import type { LoadOptions } from "./load-options.ts";

const NAMES = goldenHfNames();
/** Relative errors of transformers itself with rounded weights (tools/rounded-vectors.py). */
const ROUNDED = (
  JSON.parse(readFileSync(new URL("../../test/vectors/rounded.json", import.meta.url), "utf8")) as {
    relative_error: Record<string, Record<"int8" | "int4", number>>;
  }
).relative_error;

const TENSORS = nodePlatform().tensors;
/** All models that were read in fewer bits. */
const rounded: Rounded[] = [];

const models: CausalLm[] = [];
afterEach(async () => {
  await Promise.all(models.splice(0).map((model) => model.dispose()));
});
const cacheFolder = mkdtempSync(join(tmpdir(), "tacet-golden-hf-"));
afterAll(() => rmSync(cacheFolder, { recursive: true, force: true }));
const weightCache = nodeFileCache(cacheFolder);

const checkpointOf = (name: string) => openCheckpoint(nodeFileTree(goldenHfFolder(name)));
const adapterOf = (name: string) => openLoraAdapter(nodeFileTree(join(goldenHfFolder(name), "adapter")));

async function load(name: string, options: LoadOptions = {}): Promise<CausalLm> {
  const model = await CausalLm.load(await checkpointOf(name), TENSORS, options);
  models.push(model);
  return model;
}

function largest(logits: Float32Array): number {
  return logits.reduce((best, value, id) => (value > logits[best] ? id : best), 0);
}

async function greedy(model: CausalLm, promptIds: readonly number[], count: number): Promise<number[]> {
  const cache = model.newCache();
  const ids: number[] = [];
  let next = promptIds;
  while (ids.length < count) {
    ids.push(largest(await model.forward(next, cache)));
    next = ids.slice(-1);
  }
  return ids;
}

function expectClose(got: Float32Array, want: readonly number[]): void {
  const share = want.map((value, i) => Math.abs(got[i] - value) / (2e-4 + 1e-4 * Math.abs(value)));
  expect(Math.max(...share)).toBeLessThan(1);
}

describe.each(NAMES)("%s", (name) => {
  const golden = goldenHfOf(name);
  const { input_ids: prompt, greedy_ids: ids } = golden;
  /** As it is, loaded by the first test that asks for it. */
  let base: Promise<CausalLm> | undefined;
  const plain = async () => await (base ??= checkpointOf(name).then((of) => CausalLm.load(of, TENSORS)));
  afterAll(async () => (await base)?.dispose());

  it("has transformers' logits and greedy ids", async () => {
    const model = await plain();
    expectClose(await model.forward(prompt, model.newCache()), golden.logits_last);
    expect(await greedy(model, prompt, ids.length)).toEqual(ids);
  });

  it("has them with an adapter, inside the graph and cut where one is asked for", async () => {
    const adapter = await adapterOf(name);
    const fitted = await fitAdapter(adapter, await checkpointOf(name));
    for (const options of [{ adapter }, { deltas: new LocalLora(fitted) }]) {
      const model = await load(name, options);
      expectClose(await model.forward(prompt, model.newCache()), golden.logits_last_adapter);
      expect(await greedy(model, prompt, ids.length)).toEqual(golden.greedy_ids_adapter);
    }
  });

  it("has them in passes of 5 tokens, and after a cache was cut back", async () => {
    const model = await load(name, { passTokens: 5 });
    const cache = model.newCache();
    await model.forward(prompt.slice(0, 6), cache);
    await model.forward([...prompt.slice(6), 3, 4, 5], cache);
    cache.truncate(cache.keepable(prompt.length - 1));
    expectClose(await model.forward(prompt.slice(cache.length), cache), golden.logits_last);
  });

  // What a seeing model adds is no matter of rounding.
  it.skipIf(name.includes("seeing-")).each(["int8", "int4"] as const)(
    "in %s prefers the same tokens, but where rounding is to be expected to turn a near tie",
    async (weights) => {
      const read = [...prompt, ...ids.slice(0, -1)];
      const checkpoint = await checkpointOf(name);
      const readAs = async (options?: LoadOptions) => {
        const routes = new RouteRecorder(checkpoint);
        const deltas = routes.groups.length > 0 ? { deltas: routes } : undefined;
        const model = options || deltas ? await load(name, { ...options, ...deltas }) : await plain();
        const logits = await model.forwardAll(read, model.newCache());
        const { vocabSize } = model.config;
        const rows = ids.map((_, i) => {
          const row = prompt.length - 1 + i;
          return logits.subarray(row * vocabSize, (row + 1) * vocabSize);
        });
        return { rows, routes };
      };
      const want = await readAs();
      const got = await readAs({ weights, weightCache });
      const flips = new PredictedFlips(want.rows, predictedError(name, weights));
      const { turned, relativeError } = flips.compare(got.rows);
      // Another expert is no small error: behind the first token that goes through another one anything may be turned.
      const rerouted = got.routes.firstOther(want.routes) - prompt.length + 1;
      const near = turned.filter(({ margin }) => margin < flips.marginLimit);
      const far = turned.filter(({ margin }) => margin >= flips.marginLimit);
      console.log(
        `${name} ${weights}: ${ids.length - turned.length} of ${ids.length}, ${flips.expected.toFixed(1)} expected to turn; ` +
          `turned by margins of [${near.map(({ margin }) => margin.toFixed(2)).join(", ")}] σ` +
          (far.length > 0 ? `, and ${far.length} behind a token that goes through another expert` : "") +
          `; relative error ${relativeError.toFixed(3)}, predicted ${flips.relativeError.toFixed(3)}`,
      );
      rounded.push({
        name,
        weights,
        steps: ids.length,
        kept: ids.length - turned.length,
        expected: flips.expected,
        margins: near.map(({ margin }) => margin),
        predictedError: flips.relativeError,
      });
      expect(near.length).toBeLessThanOrEqual(flips.most);
      for (const { step } of far) expect(step).toBeGreaterThanOrEqual(rerouted);
    },
  );
});

describe.each(["int8", "int4"] as const)("over all models, in %s", (weights) => {
  it("rounding turns no more near ties than is to be expected", () => {
    const own = rounded.filter((each) => each.weights === weights);
    const expected = own.reduce((sum, each) => sum + each.expected, 0);
    const turned = own.reduce((sum, { margins }) => sum + margins.length, 0);
    const kept = own.filter((each) => each.kept >= KEPT_ENOUGH).length;
    console.log(
      `${weights}: at least ${KEPT_ENOUGH} of 12 in ${kept} of ${own.length} models; ${turned} turned, ${expected.toFixed(1)} expected`,
    );
    expect(turned).toBeLessThanOrEqual(poissonQuantile(expected, FALSE_ALARM));
  });
});

// A processor that adds in another order may turn one near tie more, or less.
it("docs/models.md names every model that keeps fewer, with the reason", () => {
  if (process.env.UPDATE) writeRoundingTable(rounded);
  const documented = documentedKept();
  const stale = rounded.filter(({ kept, ...each }) => {
    const said = documented.get(keyOf(each));
    return said === undefined ? kept < KEPT_ENOUGH : Math.abs(kept - said) > 1;
  });
  expect(stale.map(keyOf), "stale: UPDATE=1 npx vitest run src/model/golden-hf.test.ts").toEqual([]);
});

/**
 * The relative error of the logits to be expected. Two are independent: that of rounded weights, as transformers has it
 * with weights that are rounded alike, and that of activations, which are rounded to 8 bits in such blocks, and cost as
 * much as weights that are.
 */
function predictedError(name: string, weights: "int8" | "int4"): number {
  return Math.hypot(ROUNDED[name][weights], ROUNDED[name].int8);
}
