/** What a model drafts: what its base says, or with another adapter, and nothing is left of it. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { goldenModel, goldenOf, type TestModel } from "../../test/support/models.ts";
import { nodePlatform } from "../platform/node.ts";
import { fitAdapter } from "./adapter/fit-adapter.ts";
import { LocalLora } from "./adapter/local-lora.ts";
import { CausalLm } from "./causal-lm.ts";

const NAME = "llama-f32";
const want = goldenOf(NAME);
const models: CausalLm[] = [];
let test: TestModel;
beforeAll(async () => {
  test = await goldenModel(NAME);
});
afterAll(() => Promise.all(models.map((model) => model.dispose())));

const lora = async () => new LocalLora(await fitAdapter(test.adapter, test.checkpoint));
const likeliest = (logits: Float32Array) => logits.indexOf(Math.max(...logits));

async function load(options: Parameters<typeof CausalLm.load>[2]): Promise<CausalLm> {
  const model = await CausalLm.load(test.checkpoint, nodePlatform().tensors, options);
  models.push(model);
  return model;
}

it("is what the base model says, from an empty cache", async () => {
  const model = await load({ deltas: await lora() });
  const cache = model.newCache();
  const asked = { ids: want.input_ids, most: 8, choose: likeliest };
  expect(await model.draft(cache, asked)).toEqual(want.greedy_ids.slice(0, 8));
  expect(cache.length).toBe(0);
  // The private model goes on as if nothing had been drafted.
  await model.forward(want.input_ids, cache);
  const ids = [want.greedy_ids_adapter[0]];
  for (let i = 1; i < 6; i++) {
    await model.draft(cache, { ids: ids.slice(-1), most: 3, choose: likeliest });
    expect(cache.length).toBe(want.input_ids.length + ids.length - 1);
    ids.push(likeliest(await model.forward(ids.slice(-1), cache)));
  }
  expect(ids).toEqual(want.greedy_ids_adapter.slice(0, 6));
});

it("is what another adapter says where there is one to draft with", async () => {
  const [model] = await CausalLm.loadShared(test.checkpoint, nodePlatform().tensors, [
    { deltas: await lora(), draftAdapter: test.adapter },
  ]);
  models.push(model);
  const asked = { ids: want.input_ids, most: 8, choose: likeliest };
  expect(await model.draft(model.newCache(), asked)).toEqual(want.greedy_ids_adapter.slice(0, 8));
});

it("tells whoever chooses what was drafted before, and ends with the context", async () => {
  const contextLength = want.input_ids.length + 3;
  const model = await load({ deltas: await lora(), contextLength });
  const seen: (readonly number[])[] = [];
  const drafted = await model.draft(model.newCache(), {
    ids: want.input_ids,
    most: 9,
    choose(logits, before) {
      seen.push([...before]);
      return likeliest(logits);
    },
  });
  expect(drafted).toEqual(want.greedy_ids.slice(0, 4));
  expect(seen).toEqual([0, 1, 2, 3].map((length) => drafted.slice(0, length)));
});

it("leaves the cache as it was when it is broken off, and is refused where nothing is added", async () => {
  const model = await load({ deltas: await lora() });
  const cache = model.newCache();
  const controller = new AbortController();
  const choose = (logits: Float32Array) => {
    controller.abort();
    return likeliest(logits);
  };
  const { signal } = controller;
  const broken = model.draft(cache, { ids: want.input_ids, most: 8, choose, signal });
  await expect(broken).rejects.toMatchObject({ code: "aborted" });
  expect(cache.length).toBe(0);
  expect(likeliest(await model.forward(want.input_ids, cache))).toBe(want.greedy_ids_adapter[0]);
  const base = await load({});
  expect(base.canDraft).toBe(false);
  const refused = base.draft(base.newCache(), { ids: [1], most: 1, choose: likeliest });
  await expect(refused).rejects.toThrow(TypeError);
});
