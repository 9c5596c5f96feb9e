/** Prompts that are read in parts at several layers at a time, over sources that answer late and in any order. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { FarLora } from "../../../test/support/far-lora.ts";
import { ADAPTABLE, seededModel } from "../../../test/support/seeded-models.ts";
import { FAMILIES, type Family } from "../../../tools/checkpoint/shapes.ts";
import { nodeFileTree, nodePlatform } from "../../platform/node.ts";
import { type Checkpoint, openCheckpoint } from "../../weights/checkpoint.ts";
import { openLoraAdapter } from "../../weights/lora-adapter.ts";
import { fitAdapter } from "../adapter/fit-adapter.ts";
import { LocalLora } from "../adapter/local-lora.ts";
import { CausalLm } from "../causal-lm.ts";
import type { LoadOptions } from "../load-options.ts";

const dirs: string[] = [];
const models: CausalLm[] = [];
afterEach(async () => {
  await Promise.all(models.splice(0).map((model) => model.dispose()));
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true });
});

async function open(family: Family) {
  const dir = mkdtempSync(join(tmpdir(), "tacet-wavefront-"));
  dirs.push(dir);
  const seeded = seededModel(dir, family);
  const checkpoint = await openCheckpoint(nodeFileTree(seeded.base));
  const folder = seeded.adapter("all", { modules: [...ADAPTABLE[family]], rank: 3 });
  return { checkpoint, adapter: await openLoraAdapter(nodeFileTree(folder)) };
}

async function openFolder(folder: string) {
  const checkpoint = await openCheckpoint(nodeFileTree(folder));
  return { checkpoint, adapter: await openLoraAdapter(nodeFileTree(join(folder, "adapter"))) };
}

async function load(checkpoint: Checkpoint, options: LoadOptions): Promise<CausalLm> {
  const model = await CausalLm.load(checkpoint, nodePlatform().tensors, { threads: 1, ...options });
  models.push(model);
  return model;
}

const ids = (count: number, first = 1) => Array.from({ length: count }, (_, i) => (first + 37 * i) % 59);

function expectClose(got: Float32Array, want: Float32Array): void {
  expect(got).toHaveLength(want.length);
  let [largest, worst] = [1, 0];
  for (const [i, value] of want.entries()) {
    largest = Math.max(largest, Math.abs(value));
    worst = Math.max(worst, Math.abs(got[i] - value));
  }
  expect(worst / largest).toBeLessThan(3e-5);
}

/** Seeded small models of the oldest families, and the golden folders of what is special: states, experts, windows. */
const GOLDEN = fileURLToPath(new URL("../../../test/fixtures/golden-hf/", import.meta.url));
const SUBJECTS: readonly (readonly [string, () => ReturnType<typeof open>])[] = [
  ...FAMILIES.map((family) => [family, () => open(family)] as const),
  ...readdirSync(GOLDEN, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => [`golden ${name}`, () => openFolder(join(GOLDEN, name))] as const),
];

const lines = fc.record({
  roundTripMs: fc.constantFrom(0, 0.2, 5, 1000),
  vectorMs: fc.constantFrom(0, 0.01, 1, 100),
});

describe.each(SUBJECTS)("%s", (name, openSubject) => {
  it("gives the same logits and the same cache in any parts, with answers in any order", async () => {
    const { checkpoint, adapter } = await openSubject();
    const plain = await load(checkpoint, { deltas: new LocalLora(await fitAdapter(adapter, checkpoint)) });
    const prompt = fc.record({
      before: fc.integer({ min: 0, max: 3 }),
      length: fc.integer({ min: 1, max: 60 }),
      line: lines,
      seed: fc.nat(),
    });
    const deltas = await FarLora.of(checkpoint, adapter);
    for (const passTokens of [512, 20]) {
      const source = passTokens === 512 ? deltas : await FarLora.of(checkpoint, adapter);
      const model = await load(checkpoint, { deltas: source, passTokens });
      await fc.assert(
        fc.asyncProperty(prompt, async ({ before, length: asked, line, seed }) => {
          const length = Math.min(asked, Math.floor((plain.contextLength - before - 1) / 2));
          source.line = line;
          let state = seed;
          source.turns = () => (state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff) % 4;
          const [got, want] = [model.newCache(), plain.newCache()];
          if (before > 0) {
            await model.forward(ids(before, 9), got);
            await plain.forward(ids(before, 9), want);
          }
          expectClose(await model.forward(ids(length), got), await plain.forward(ids(length), want));
          expectClose(await model.forward([5], got), await plain.forward([5], want));
          expect(got.length).toBe(want.length);
          expectClose(
            await model.forwardAll(ids(length, 3), got),
            await plain.forwardAll(ids(length, 3), want),
          );
        }),
        {
          numRuns: name.startsWith("golden") ? 3 : 12,
          // One that is surely in parts.
          examples: [[{ before: 2, length: 40, line: { roundTripMs: 3000, vectorMs: 100 }, seed: 1 }]],
        },
      );
      const { forwards } = model.timings;
      source.line = { roundTripMs: 3000, vectorMs: 100 };
      await model.forward(ids(40), model.newCache());
      expect(model.timings.forwards - forwards).toBeGreaterThan(1);
    }
  });
});

describe("a prompt in parts", () => {
  it("asks for the next part before the first one is answered, at several layers at a time", async () => {
    const { checkpoint, adapter } = await open("llama");
    const deltas = await FarLora.of(checkpoint, adapter);
    deltas.turns = () => 30;
    const model = await load(checkpoint, { deltas });
    await model.forward(ids(32), model.newCache());
    // Two layers of four groups, four parts of eight tokens. Behind the last layer's attention the last part is alone.
    expect(deltas.asked).toHaveLength(5 * 4 + 3);
    expect(deltas.asked.slice(-3)).toEqual([5, 6, 7]);
    expect(deltas.asked.slice(0, 4)).toEqual([0, 0, 0, 0]);
    expect(deltas.mostOpen).toBe(32);
  });

  it("never has more tokens on their way than a pass may have", async () => {
    const { checkpoint, adapter } = await open("llama");
    const deltas = await FarLora.of(checkpoint, adapter);
    deltas.turns = () => 30;
    const model = await load(checkpoint, { deltas, passTokens: 24 });
    await model.forward(ids(150), model.newCache());
    expect(deltas.mostOpen).toBeLessThanOrEqual(24);
    expect(deltas.mostOpen).toBeGreaterThan(12);
  });

  it("is one part for a source in this process", async () => {
    const { checkpoint, adapter } = await open("llama");
    const model = await load(checkpoint, { deltas: new LocalLora(await fitAdapter(adapter, checkpoint)) });
    await model.forward(ids(100), model.newCache());
    expect(model.timings.forwards).toBe(1);
    expect(model.timings.exchanges).toBe(8);
  });

  it.each([0, 3, 9, 17, 21, 22])(
    "leaves the cache as it was when query %i fails, and goes on",
    async (failAt) => {
      const { checkpoint, adapter } = await open("llama");
      const plain = await load(checkpoint, {
        deltas: new LocalLora(await fitAdapter(adapter, checkpoint)),
      });
      const deltas = await FarLora.of(checkpoint, adapter);
      const model = await load(checkpoint, { deltas });
      const [got, want] = [model.newCache(), plain.newCache()];
      await model.forward(ids(5), got);
      await plain.forward(ids(5), want);
      deltas.failAt = deltas.asked.length + failAt;
      await expect(model.forward(ids(32), got)).rejects.toMatchObject({ code: "connection_lost" });
      expect(got.length).toBe(5);
      const asked = deltas.asked.length;
      for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
      expect(deltas.asked, "nothing is asked for a prompt that has failed").toHaveLength(asked);
      expectClose(await model.forward(ids(32), got), await plain.forward(ids(32), want));
      expectClose(await model.forward([7], got), await plain.forward([7], want));
    },
  );

  it.each([1, 6, 20])("stops at query %i when it is told to, and asks nothing more", async (stopAt) => {
    const { checkpoint, adapter } = await open("llama");
    const deltas = await FarLora.of(checkpoint, adapter);
    const model = await load(checkpoint, { deltas });
    const controller = new AbortController();
    deltas.onAsked = () => deltas.asked.length === stopAt && controller.abort();
    const cache = model.newCache();
    const stopped = model.forward(ids(32), cache, { signal: controller.signal });
    await expect(stopped).rejects.toMatchObject({ code: "aborted" });
    expect(cache.length).toBe(0);
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(deltas.asked).toHaveLength(stopAt);
  });

  it("never has so many listeners for its signal that Node warns", async () => {
    const { checkpoint, adapter } = await open("llama");
    const deltas = await FarLora.of(checkpoint, adapter);
    deltas.line = { roundTripMs: 19_000, vectorMs: 100 };
    deltas.turns = () => 30;
    const warnings: Error[] = [];
    const note = (warning: Error) => warnings.push(warning);
    process.on("warning", note);
    const model = await load(checkpoint, { deltas });
    await model.forward(ids(200), model.newCache(), { signal: new AbortController().signal });
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", note);
    expect(model.timings.forwards).toBeGreaterThan(5);
    expect(warnings).toEqual([]);
  });

  it("fails with the first failure, not with what that did to the others", async () => {
    const { checkpoint, adapter } = await open("llama");
    const deltas = await FarLora.of(checkpoint, adapter);
    const model = await load(checkpoint, { deltas });
    deltas.failAt = 4;
    const signal = new AbortController().signal;
    const failed = model.forward(ids(32), model.newCache(), { signal });
    await expect(failed).rejects.toMatchObject({ code: "connection_lost" });
  });
});

describe("a step of several tokens in parts", () => {
  it("sends the vectors of each while those before it wait, once it is known what a pass costs", async () => {
    const { checkpoint, adapter } = await open("llama");
    const plain = await load(checkpoint, { deltas: new LocalLora(await fitAdapter(adapter, checkpoint)) });
    const deltas = await FarLora.of(checkpoint, adapter);
    deltas.turns = () => 30;
    const model = await load(checkpoint, { deltas });
    const [got, want] = [model.newCache(), plain.newCache()];
    for (const next of [ids(5), [3]]) {
      await model.forward(next, got);
      await plain.forward(next, want);
    }
    const { forwards, exchanges } = model.timings;
    expectClose(await model.forwardAll(ids(6), got), await plain.forwardAll(ids(6), want));
    expect(model.timings.forwards - forwards).toBe(6);
    // Of parts on their way at the same time those of one.
    expect(model.timings.exchanges - exchanges).toBe(5);
    expect(deltas.mostOpen).toBeGreaterThan(4);
    // The cache holds them, and can be cut back to where a draft was wrong.
    for (const cache of [got, want]) cache.truncate(cache.length - 4);
    expectClose(await model.forward([7], got), await plain.forward([7], want));
  });

  it.each([0, 5, 17])("leaves the cache as it was when query %i of it fails", async (failAt) => {
    const { checkpoint, adapter } = await open("llama");
    const plain = await load(checkpoint, { deltas: new LocalLora(await fitAdapter(adapter, checkpoint)) });
    const deltas = await FarLora.of(checkpoint, adapter);
    const model = await load(checkpoint, { deltas });
    const [got, want] = [model.newCache(), plain.newCache()];
    for (const next of [ids(5), [3]]) {
      await model.forward(next, got);
      await plain.forward(next, want);
    }
    deltas.failAt = deltas.asked.length + failAt;
    await expect(model.forwardAll(ids(6), got)).rejects.toMatchObject({ code: "connection_lost" });
    expect(got.length).toBe(6);
    expectClose(await model.forwardAll(ids(6), got), await plain.forwardAll(ids(6), want));
  });
});

describe("several tokens in one exchange", () => {
  it("are asked for together where a round trip costs more than the products, in steps and prompts", async () => {
    const { checkpoint, adapter } = await open("llama");
    const deltas = await FarLora.of(checkpoint, adapter);
    const model = await load(checkpoint, { deltas });
    const cache = model.newCache();
    const exchanges = async (tokens: number) => {
      const before = model.timings.exchanges;
      await model.forward(ids(tokens), cache);
      return model.timings.exchanges - before;
    };
    // Eight groups; three pairs share an exchange once their effects are known.
    expect(await exchanges(6)).toBe(8);
    expect(await exchanges(1)).toBe(5);
    expect(await exchanges(6)).toBe(5);
    expect(await exchanges(40)).toBe(5);
    deltas.line = { roundTripMs: 1e-4, vectorMs: 0 };
    expect(await exchanges(6)).toBe(8);
    expect(await exchanges(1)).toBe(5);
  });

  it("prepare themselves in a pass that checks several tokens, which counts as so many steps", async () => {
    const { checkpoint, adapter } = await open("llama");
    const deltas = await FarLora.of(checkpoint, adapter);
    const model = await load(checkpoint, { deltas, lookAheadAfter: 8 });
    const cache = model.newCache();
    await model.forward(ids(5), cache);
    for (const together of [false, false, true]) {
      const before = model.timings.exchanges;
      await model.forwardAll(ids(4), cache);
      expect(model.timings.exchanges - before).toBe(together ? 5 : 8);
    }
  });
});
