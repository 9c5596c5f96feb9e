/** Several sources of deltas and adapters on one base in memory: each as if it were alone. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { temporaryFolder } from "../../test/support/models.ts";
import { type SeededModel, seededModel } from "../../test/support/seeded-models.ts";
import type { TensorRuntime } from "../base/platform.ts";
import { nodeFileTree, nodePlatform } from "../platform/node.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import { type LoraAdapter, openLoraAdapter } from "../weights/lora-adapter.ts";
import { type FittedAdapter, fitAdapter } from "./adapter/fit-adapter.ts";
import { LocalLora } from "./adapter/local-lora.ts";
import { CausalLm } from "./causal-lm.ts";
import type { DeltaUse } from "./load-options.ts";

const PROMPT = [1, 17, 203, 44, 5, 99, 120, 7];
const ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
/** Other modules, other ranks: cuts that one has and another has not, places that are adapted in part. */
const ADAPTERS = {
  some: { modules: ["q_proj", "v_proj"], rank: 8 },
  others: { modules: ["k_proj", "gate_proj", "up_proj", "down_proj"], rank: 3 },
  all: { modules: ALL, rank: 4 },
  first: { modules: ["v_proj", "o_proj", "gate_proj", "up_proj"], rank: 2 },
};

const folder = temporaryFolder();
let seeded: SeededModel;
let checkpoint: Checkpoint;
const adapters = new Map<string, FittedAdapter & { readonly whole: LoraAdapter }>();

/** Counts what is loaded and freed. */
function counting(): { runtime: TensorRuntime; made: () => number; freed: () => number } {
  let [made, freed] = [0, 0];
  const { tensors } = nodePlatform();
  return {
    made: () => made,
    freed: () => freed,
    runtime: {
      ...tensors,
      async createSession(model, options) {
        const session = await tensors.createSession(model, options);
        made++;
        return {
          run: (inputs) => session.run(inputs),
          dispose() {
            freed++;
            return session.dispose();
          },
        };
      },
    },
  };
}

beforeAll(async () => {
  seeded = seededModel(folder.path, "llama");
  checkpoint = await openCheckpoint(nodeFileTree(seeded.base));
  for (const [name, options] of Object.entries(ADAPTERS)) {
    const whole = await openLoraAdapter(nodeFileTree(seeded.adapter(name, options)));
    adapters.set(name, { ...(await fitAdapter(whole, checkpoint)), whole });
  }
});
afterAll(() => folder.remove());

const use = (name: string | undefined, more: Omit<DeltaUse, "deltas"> = {}): DeltaUse => {
  const adapter = name === undefined ? undefined : adapters.get(name)!;
  return adapter === undefined ? {} : { deltas: new LocalLora(adapter), ...more };
};

/** The same adapter inside the graph. */
const here = (name: string | undefined): DeltaUse =>
  name === undefined ? {} : { adapter: adapters.get(name)!.whole };

/** What each of `NAMES` gives alone, cut where it is asked for. */
async function eachAlone(): Promise<Awaited<ReturnType<typeof answer>>[]> {
  const wanted = [];
  for (const name of NAMES) {
    const alone = await CausalLm.load(checkpoint, nodePlatform().tensors, use(name));
    wanted.push(await answer(alone));
    await alone.dispose();
  }
  return wanted;
}

/** Logits of a prompt in one pass, and of six tokens more, one by one, each the likeliest. */
async function answer(model: CausalLm): Promise<{ ids: number[]; logits: Float32Array[] }> {
  const cache = model.newCache();
  const logits = [await model.forward(PROMPT, cache)];
  const ids: number[] = [];
  for (let i = 0; i < 6; i++) {
    const last = logits[i];
    ids.push(last.indexOf(Math.max(...last)));
    logits.push(await model.forward([ids[i]], cache));
  }
  cache.dispose();
  return { ids, logits };
}

function expectAlike(
  got: Awaited<ReturnType<typeof answer>>,
  want: Awaited<ReturnType<typeof answer>>,
): void {
  expect(got.ids).toEqual(want.ids);
  for (const [i, row] of got.logits.entries()) {
    const size = Math.max(...want.logits[i].map(Math.abs));
    for (const [j, value] of row.entries())
      expect(Math.abs(value - want.logits[i][j])).toBeLessThan(2e-5 * size);
  }
}

const NAMES = [...Object.keys(ADAPTERS), undefined];

describe("CausalLm.loadShared", () => {
  it("gives each what it has alone, one after the other and all at once", async () => {
    const wanted = await eachAlone();
    expect(new Set(wanted.map(({ ids }) => ids.join())).size).toBe(NAMES.length);
    for (const lookAhead of [true, false]) {
      const uses = NAMES.map((name) => use(name, { lookAhead }));
      const models = await CausalLm.loadShared(checkpoint, nodePlatform().tensors, uses);
      for (const [i, model] of models.entries()) expectAlike(await answer(model), wanted[i]);
      const atOnce = await Promise.all([...models, ...models].map(answer));
      for (const [i, got] of atOnce.entries()) expectAlike(got, wanted[i % NAMES.length]);
      await Promise.all(models.map((model) => model.dispose()));
    }
  });

  it("loads sessions once, and frees them with the last model", async () => {
    const alone = counting();
    const single = await CausalLm.load(checkpoint, alone.runtime, use("all"));
    await single.dispose();
    expect(alone.freed()).toBe(alone.made());
    const shared = counting();
    const models = await CausalLm.loadShared(
      checkpoint,
      shared.runtime,
      NAMES.map((name) => use(name)),
    );
    expect(shared.made()).toBe(alone.made()); // "all" has every cut that the others have
    for (const model of models.slice(1)) {
      await model.dispose();
      await model.dispose();
    }
    expect(shared.freed()).toBe(0);
    expect((await answer(models[0])).ids).toHaveLength(6);
    await models[0].dispose();
    expect(shared.freed()).toBe(shared.made());
    await expect(models[0].forward([1], models[0].newCache())).rejects.toThrow(TypeError);
  });

  it("asks ahead where a source adapts both layers in all their modules, whatever the others do", async () => {
    const [all, some] = [use("all"), use("some")];
    const models = await CausalLm.loadShared(checkpoint, nodePlatform().tensors, [some, all]);
    for (const model of models) await answer(model);
    const coupled = ({ deltas }: DeltaUse): number =>
      deltas!.groups.filter((_, group) => deltas!.lowRank!.hasEffects(group)).length;
    expect(coupled(some)).toBe(0);
    const single = use("all");
    const alone = await CausalLm.load(checkpoint, nodePlatform().tensors, single);
    await answer(alone);
    expect(coupled(all)).toBe(coupled(single));
    expect(coupled(all)).toBeGreaterThan(0);
    await Promise.all([...models, alone].map((model) => model.dispose()));
  });

  it("has adapters that are here in one graph with the base, whatever the others adapt", async () => {
    const wanted = await eachAlone();
    const { runtime, made, freed } = counting();
    const models = await CausalLm.loadShared(checkpoint, runtime, NAMES.map(here));
    expect(made()).toBe(1);
    expect(models.every((model) => model.isOnBaseOf(models[0]))).toBe(true);
    const atOnce = await Promise.all([...models, ...models].map(answer));
    for (const [i, got] of atOnce.entries()) expectAlike(got, wanted[i % NAMES.length]);
    await Promise.all(models.map((model) => model.dispose()));
    expect(freed()).toBe(1);
  });

  it("has them beside sources that are asked, with the cuts of these, and beside what is drafted with", async () => {
    const wanted = await eachAlone();
    for (const lookAhead of [true, false]) {
      const draftAdapter = adapters.get("first")!.whole;
      const asked = ["all", "some"].map((name) => use(name, { lookAhead, draftAdapter }));
      const uses = [...asked, ...NAMES.map(here)];
      const models = await CausalLm.loadShared(checkpoint, nodePlatform().tensors, uses);
      const names = ["all", "some", ...NAMES];
      const atOnce = await Promise.all(models.map(answer));
      for (const [i, got] of atOnce.entries()) expectAlike(got, wanted[NAMES.indexOf(names[i])]);
      const [all] = models;
      const choose = (logits: Float32Array) => logits.indexOf(Math.max(...logits));
      const drafted = await all.draft(all.newCache(), { ids: PROMPT, most: 6, choose });
      expect(drafted).toEqual(wanted[NAMES.indexOf("first")].ids);
      await Promise.all(models.map((model) => model.dispose()));
    }
  });

  it("refuses a source of another model, and no source at all", async () => {
    const { tensors } = nodePlatform();
    await expect(CausalLm.loadShared(checkpoint, tensors, [])).rejects.toThrow(RangeError);
    const strange = use("some").deltas!;
    const groups = strange.groups.map((group) => ({ ...group, inFeatures: group.inFeatures + 1 }));
    const uses = [use("all"), { deltas: { groups, begin: () => ({ wait: async () => [] }) } }];
    await expect(CausalLm.loadShared(checkpoint, tensors, uses)).rejects.toMatchObject({
      code: "unsupported_adapter",
    });
  });
});
