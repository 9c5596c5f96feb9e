/** Passes of several conversations whose products are made in one run: each gives what it gives alone. */
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { goldenHfFolder, goldenHfOf } from "../../test/support/golden-hf.ts";
import { temporaryFolder } from "../../test/support/models.ts";
import type { TensorRuntime } from "../base/platform.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../platform/node.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { openLoraAdapter } from "../weights/lora-adapter.ts";
import { fitAdapter } from "./adapter/fit-adapter.ts";
import { LocalLora } from "./adapter/local-lora.ts";
import { CausalLm } from "./causal-lm.ts";
import type { KvCache } from "./kv-cache.ts";
import type { LoadOptions } from "./load-options.ts";

/** Families of which each has something that others have not, beside attention or in it. */
const FAMILIES = [
  ...["qwen3", "falcon", "gpt_neox", "opt", "bloom", "gemma4_text", "qwen3_5_text", "mixtral", "gpt_oss"],
  ...["cohere2", "ministral3"],
].map((name) => `tiny/${name}`);

const folder = temporaryFolder();
afterAll(() => folder.remove());
const models: CausalLm[] = [];
afterEach(async () => {
  await Promise.all(models.splice(0).map((model) => model.dispose()));
});

/** Counts runs. */
function counting(): { readonly runtime: TensorRuntime; runs: number } {
  const { tensors } = nodePlatform();
  const counted = {
    runs: 0,
    runtime: {
      ...tensors,
      async createSession(...[model, options]: Parameters<TensorRuntime["createSession"]>) {
        const session = await tensors.createSession(model, options);
        return {
          run: (inputs: Parameters<typeof session.run>[0]) => {
            counted.runs++;
            return session.run(inputs);
          },
          dispose: () => session.dispose(),
        };
      },
    },
  };
  return counted;
}

async function adapted(name: string, options: LoadOptions = {}) {
  const checkpoint = await openCheckpoint(nodeFileTree(goldenHfFolder(name)));
  const adapter = await openLoraAdapter(nodeFileTree(join(goldenHfFolder(name), "adapter")));
  const counted = counting();
  const deltas = new LocalLora(await fitAdapter(adapter, checkpoint));
  const model = await CausalLm.load(checkpoint, counted.runtime, { deltas, ...options });
  models.push(model);
  return { model, counted, deltas, checkpoint };
}

/** Conversations of several lengths, each with what it reads next: one token, or several as with drafts. */
const NEXT = [[7], [3], [9, 4, 2], [1], [5, 6]];

async function conversations(model: CausalLm, ids: readonly number[]): Promise<KvCache[]> {
  const caches: KvCache[] = [];
  for (const i of NEXT.keys()) {
    const cache = model.newCache();
    await model.forward(ids.slice(0, 1 + (i % ids.length)), cache);
    caches.push(cache);
  }
  return caches;
}

function expectClose(got: Float32Array, want: Float32Array): void {
  expect(got.length).toBe(want.length);
  const errors = got.map((value, i) => Math.abs(value - want[i]) / (1 + Math.abs(want[i])));
  expect(Math.max(...errors)).toBeLessThan(1e-4);
}

describe.each(FAMILIES)("%s", (name) => {
  const { input_ids: ids } = goldenHfOf(name);

  it("gives the same logits and caches, in fewer runs", async () => {
    const { model: single } = await adapted(name);
    const alone = await conversations(single, ids);
    const want: Float32Array[] = [];
    for (const [i, next] of NEXT.entries()) want.push(await single.forwardAll(next, alone[i]));

    const { model, counted } = await adapted(name, { parallel: NEXT.length });
    const caches = await conversations(model, ids);
    const before = counted.runs;
    const got = await Promise.all(NEXT.map((next, i) => model.forwardAll(next, caches[i])));
    const together = counted.runs - before;
    for (const [i, logits] of got.entries()) expectClose(logits, want[i]);
    // What has been kept of these tokens is right too.
    for (const [i, cache] of caches.entries())
      expectClose(await model.forward([8], cache), await single.forward([8], alone[i]));

    const from = counted.runs;
    for (const [i, next] of NEXT.entries()) {
      caches[i].truncate(0);
      await model.forward(next, caches[i]);
    }
    expect(together).toBeLessThan(0.75 * (counted.runs - from));
  });
});

it("is rounded as alone with weights of 4 bits", async () => {
  const options = { weights: "int4", weightCache: nodeFileCache(folder.path) } as const;
  const { model: single } = await adapted("tiny/qwen3", options);
  const { model } = await adapted("tiny/qwen3", { ...options, parallel: 3 });
  const ids = [[1], [2], [3]];
  const got = await Promise.all(ids.map((next) => model.forward(next, model.newCache())));
  for (const [i, next] of ids.entries()) expectClose(got[i], await single.forward(next, single.newCache()));
});

it("leaves the others alone when one is stopped", async () => {
  const { model, deltas } = await adapted("tiny/qwen3", { parallel: 3 });
  const caches = await conversations(model, goldenHfOf("tiny/qwen3").input_ids);
  const before = caches.map(({ length }) => length);
  const want = await Promise.all(NEXT.map((next, i) => model.forward(next, caches[i])));
  for (const [i, cache] of caches.entries()) cache.truncate(before[i]);

  const stop = new AbortController();
  const { begin } = deltas;
  let begun = 0;
  deltas.begin = (...asked) => {
    if (++begun === 4) stop.abort();
    return begin.apply(deltas, asked);
  };
  const got = await Promise.allSettled(
    NEXT.map((next, i) => model.forward(next, caches[i], i === 1 ? { signal: stop.signal } : {})),
  );
  expect(got[1]).toMatchObject({ reason: { code: "aborted" } });
  expect(caches[1].length).toBe(before[1]);
  for (const [i, result] of got.entries())
    if (i !== 1) expectClose((result as PromiseFulfilledResult<Float32Array>).value, want[i]);
  expectClose(await model.forward(NEXT[1], caches[1]), want[1]);
});

it("makes one run for several adapters on one base, and for drafts", async () => {
  const { deltas, checkpoint } = await adapted("tiny/qwen3");
  const counted = counting();
  const [model, base] = await CausalLm.loadShared(checkpoint, counted.runtime, [{ deltas }, {}], {
    parallel: 2,
  });
  models.push(model, base);
  const ids = [4, 5, 6];
  const choose = (logits: Float32Array) => logits.indexOf(Math.max(...logits));
  const read = async (): Promise<[Float32Array, Float32Array, number[]]> => [
    await model.forward(ids, model.newCache()),
    await base.forward(ids, base.newCache()),
    await model.draft(model.newCache(), { ids, most: 2, choose }),
  ];
  const want = await read();
  const alone = counted.runs;
  const got = await Promise.all([
    model.forward(ids, model.newCache()),
    base.forward(ids, base.newCache()),
    model.draft(model.newCache(), { ids, most: 2, choose }),
  ]);
  expect(counted.runs - alone).toBeLessThan(0.75 * alone);
  expectClose(got[0], want[0]);
  expectClose(got[1], want[1]);
  expect(got[2]).toEqual(want[2]);
});
