import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { TacetError } from "../base/errors.ts";
import { generate } from "../generation/generate.ts";
import { nodeFileTree } from "../platform/node/files/file-tree.ts";
import { nodeTensorRuntime } from "../platform/node/tensors.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { openLoraAdapter } from "../weights/lora-adapter.ts";
import { fitAdapter } from "./adapter/fit-adapter.ts";
import { LocalLora } from "./adapter/local-lora.ts";
import { CausalLm } from "./causal-lm.ts";
import type { LoadOptions } from "./load-options.ts";
import type { DeltaSource, PendingDelta } from "./delta-source.ts";
import type { KvCache } from "./kv-cache.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const golden = (name: string) => join(root, "test/fixtures/golden", name);
const lexicon = join(root, "models/lexicon");
const runtime = nodeTensorRuntime();

interface Golden {
  readonly input_ids: number[];
  readonly logits_last: number[];
  readonly greedy_ids: number[];
  readonly logits_last_adapter: number[];
  readonly greedy_ids_adapter: number[];
}

interface LexiconEntry {
  readonly word: string;
  readonly prompt_ids: number[];
  readonly base: { readonly ids: number[] };
  readonly adapter: { readonly ids: number[] };
}

const models: CausalLm[] = [];
afterEach(async () => {
  await Promise.all(models.splice(0).map((model) => model.dispose()));
});

async function load(base: string, adapter?: string, options: LoadOptions = {}): Promise<CausalLm> {
  const deltas = adapter === undefined ? {} : { deltas: await localLora(base, adapter) };
  const model = await CausalLm.load(await openCheckpoint(nodeFileTree(base)), runtime, {
    ...deltas,
    ...options,
  });
  models.push(model);
  return model;
}

async function localLora(base: string, adapter: string): Promise<LocalLora> {
  const lora = await openLoraAdapter(nodeFileTree(adapter));
  return new LocalLora(await fitAdapter(lora, await openCheckpoint(nodeFileTree(base))));
}

async function greedy(model: CausalLm, promptIds: number[], maxNewTokens: number, eosIds: number[] = []) {
  const ids: number[] = [];
  for await (const { id } of generate(model, promptIds, { maxNewTokens, eosIds })) ids.push(id);
  return ids;
}

/** Of the golden README. */
function expectLogits(got: Float32Array, want: readonly number[]): void {
  expect(got).toHaveLength(want.length);
  const worst = want.reduce(
    (most, w, i) => Math.max(most, Math.abs(got[i] - w) / (5e-5 + 5e-5 * Math.abs(w))),
    0,
  );
  expect(worst).toBeLessThan(1);
}

function expectClose(got: Float32Array, want: Float32Array): void {
  expectLogits(got, [...want]);
}

describe.each(readdirSync(golden("")))("golden %s", (name) => {
  const folder = golden(name);
  const want = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8")) as Golden;

  it("gives the base model's logits and greedy ids", async () => {
    const model = await load(folder);
    expectLogits(await model.forward(want.input_ids, model.newCache()), want.logits_last);
    expect(await greedy(model, want.input_ids, 16)).toEqual(want.greedy_ids);
    expect(model.timings).toMatchObject({ forwards: 17, sessionRuns: 17, beginMs: 0, waitMs: 0 });
  });

  it("gives the adapted model's, cut into segments", async () => {
    const model = await load(folder, join(folder, "adapter"));
    expectLogits(await model.forward(want.input_ids, model.newCache()), want.logits_last_adapter);
    expect(await greedy(model, want.input_ids, 16)).toEqual(want.greedy_ids_adapter);
    expect(model.timings.waitMs).toBeGreaterThan(0);
  });

  it("is the same for a prompt read at once, in chunks and token by token", async () => {
    for (const model of [await load(folder), await load(folder, join(folder, "adapter"))]) {
      const ids = want.input_ids;
      const whole = await model.forward(ids, model.newCache());
      for (const size of [1, 5]) {
        const cache = model.newCache(3); // grows on the way
        let logits: Float32Array | undefined;
        for (let at = 0; at < ids.length; at += size)
          logits = await model.forward(ids.slice(at, at + size), cache);
        expect(cache.length).toBe(ids.length);
        expectClose(logits!, whole);
      }
    }
  });

  it("gives the logits of every position, and forgets what is truncated", async () => {
    const model = await load(folder);
    const cache = model.newCache();
    const ids = want.input_ids;
    await model.forward(ids.slice(0, 3), cache);
    const all = await model.forwardAll(ids.slice(3), cache);
    const { vocabSize } = model.config;
    expect(all).toHaveLength((ids.length - 3) * vocabSize);
    for (let at = ids.length - 1; at >= 3; at--) {
      cache.truncate(at);
      expectClose(
        all.subarray((at - 3) * vocabSize, (at - 2) * vocabSize),
        await model.forward([ids[at]], cache),
      );
    }
  });
});

describe("the embedded model", () => {
  const { entries, end_id } = JSON.parse(readFileSync(join(lexicon, "expected.json"), "utf8")) as {
    entries: LexiconEntry[];
    end_id: number;
  };
  const base = join(lexicon, "base");
  const adapter = join(lexicon, "law-adapter");

  it("answers every word as the base does", async () => {
    const model = await load(base);
    for (const entry of entries) {
      expect(await greedy(model, entry.prompt_ids, 100, [end_id]), entry.word).toEqual(entry.base.ids);
    }
  });

  it("answers every word as the adapted model does", async () => {
    const model = await load(base, adapter);
    for (const entry of entries) {
      expect(await greedy(model, entry.prompt_ids, 100, [end_id]), entry.word).toEqual(entry.adapter.ids);
    }
  });

  it("goes on after a delta that failed", async () => {
    const lora = await localLora(base, adapter);
    let failAt = 30; // in the second of the layers of the second token
    const flaky: DeltaSource = {
      groups: lora.groups,
      begin(group, x, tokens): PendingDelta {
        const pending = lora.begin(group, x, tokens);
        return failAt-- === 0
          ? { wait: () => Promise.reject(new TacetError("connection_lost", "gone")) }
          : pending;
      },
    };
    const model = await load(base, undefined, { deltas: flaky });
    const { prompt_ids, adapter: answer } = entries[0];
    const cache = model.newCache();
    const ids: number[] = [];
    const read = async (prompt: readonly number[]) => {
      const options = { maxNewTokens: answer.ids.length - ids.length, eosIds: [end_id], cache };
      for await (const { id } of generate(model, prompt, options)) ids.push(id);
    };
    await expect(read(prompt_ids)).rejects.toMatchObject({ code: "connection_lost" });
    expect(ids).toHaveLength(1);
    expect(cache.length).toBe(prompt_ids.length);
    await read([ids[0]]);
    expect(ids).toEqual(answer.ids);
  });

  it("stops when it is told to, with the cache as it was", async () => {
    const model = await load(base);
    const controller = new AbortController();
    const cache = model.newCache();
    const tokens = generate(model, entries[0].prompt_ids, {
      maxNewTokens: 9,
      signal: controller.signal,
      cache,
    });
    await tokens.next();
    controller.abort();
    expect(await tokens.next()).toEqual({ done: true, value: { reason: "aborted" } });
    await expect(model.forward([1], cache, { signal: controller.signal })).rejects.toMatchObject({
      code: "aborted",
    });
    expect(cache.length).toBe(entries[0].prompt_ids.length);
  });

  it("ends at once when it is aborted before a query has been asked, which is dropped then", async () => {
    const name = golden("llama-f32");
    const lora = await localLora(name, join(name, "adapter"));
    const controller = new AbortController();
    let dropped = 0;
    const deltas: DeltaSource = {
      groups: lora.groups,
      begin() {
        queueMicrotask(() => controller.abort());
        const never = new Promise<never>(() => {});
        return { asked: never, wait: () => never, drop: () => dropped++ };
      },
    };
    const model = await load(name, undefined, { deltas });
    const aborted = model.forward([1, 2, 3], model.newCache(), { signal: controller.signal });
    await expect(aborted).rejects.toMatchObject({ code: "aborted" });
    expect(dropped).toBe(1);
  });

  it("gives the memory of an aborted step's deltas to no later step", async () => {
    const name = golden("llama-f32");
    const lora = await localLora(name, join(name, "adapter"));
    const late: (() => void)[] = [];
    let delay = false;
    const deltas: DeltaSource = {
      groups: lora.groups,
      begin(group, x, tokens) {
        if (!delay) return lora.begin(group, x, tokens);
        // Answers after everyone has gone, with wrong numbers.
        return {
          wait: (targets) =>
            new Promise((resolve) => {
              late.push(() => {
                for (const target of targets ?? []) target.fill(1e9);
                resolve(targets ?? []);
              });
            }),
        };
      },
    };
    const model = await load(name, undefined, { deltas });
    const cache = model.newCache();
    await model.forward([1, 2, 3], cache);
    const controller = new AbortController();
    delay = true;
    const aborted = model.forward([4], cache, { signal: controller.signal });
    setTimeout(() => controller.abort(), 20);
    await expect(aborted).rejects.toMatchObject({ code: "aborted" });
    delay = false;
    const running = model.forward([4], cache);
    const disturb = setInterval(() => late.forEach((answer) => void answer()), 0);
    const got = await running;
    clearInterval(disturb);
    expect(late).toHaveLength(1);
    const fresh = model.newCache();
    await model.forward([1, 2, 3], fresh);
    expect(got).toEqual(await model.forward([4], fresh));
  });

  it("refuses what does not fit into its context, before it starts", async () => {
    const model = await load(base, undefined, { contextLength: 16 });
    const tokens = generate(model, entries[0].prompt_ids, { maxNewTokens: 12 });
    await expect(tokens.next()).rejects.toMatchObject({ code: "context_overflow" });
    expect(await greedy(model, entries[0].prompt_ids, 11)).toEqual(entries[0].base.ids.slice(0, 11));
  });

  it("keeps conversations apart, and refuses two passes over one cache", async () => {
    const model = await load(base);
    const [first, second] = await Promise.all(
      entries.slice(0, 2).map((entry) => greedy(model, entry.prompt_ids, 100, [end_id])),
    );
    expect([first, second]).toEqual(entries.slice(0, 2).map((entry) => entry.base.ids));
    const cache: KvCache = model.newCache();
    const running = model.forward([1], cache);
    await expect(model.forward([1], cache)).rejects.toThrow(TypeError);
    await running;
  });

  it("lets conversations go on while others wait for their deltas", async () => {
    const name = golden("llama-f32");
    const lora = await localLora(name, join(name, "adapter"));
    const together = 8;
    // Nobody is answered before all have asked: a pass that kept others from running would wait for ever.
    let arrived: (() => void)[] = [];
    const deltas: DeltaSource = {
      groups: lora.groups,
      begin(group, x, tokens) {
        const pending = lora.begin(group, x, tokens);
        const all = new Promise<void>((resolve) => {
          if (arrived.push(resolve) < together) return;
          for (const go of arrived) go();
          arrived = [];
        });
        return { wait: (targets) => all.then(() => pending.wait(targets)) };
      },
    };
    const model = await load(name, undefined, { deltas });
    const alone = await load(name, undefined, { deltas: lora });
    const prompts = Array.from({ length: together }, (_, i) => [1 + i, 2, 3 + i]);
    const got = await Promise.all(prompts.map((ids) => model.forward(ids, model.newCache())));
    for (const [i, ids] of prompts.entries())
      expect(got[i]).toEqual(await alone.forward(ids, alone.newCache()));
  });

  it("samples the same text for the same seed", async () => {
    const model = await load(base);
    const sample = async (seed: number) => {
      const sampling = { temperature: 1.5, seed };
      const ids: number[] = [];
      for await (const { id } of generate(model, entries[0].prompt_ids, { maxNewTokens: 12, sampling }))
        ids.push(id);
      return ids;
    };
    expect(await sample(7)).toEqual(await sample(7));
    expect(await sample(7)).not.toEqual(await sample(8));
  });
});

describe("loading", () => {
  it("reads a folder of links, as Hugging Face's cache has them", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tacet-links-"));
    try {
      mkdirSync(join(folder, "blobs"));
      mkdirSync(join(folder, "snapshot"));
      cpSync(join(golden("llama-f32"), "model.safetensors"), join(folder, "blobs/0a1b"));
      cpSync(join(golden("llama-f32"), "config.json"), join(folder, "snapshot/config.json"));
      symlinkSync("../blobs/0a1b", join(folder, "snapshot/model.safetensors"));
      const model = await load(join(folder, "snapshot"));
      expect(await model.forward([1, 2], model.newCache())).toHaveLength(300);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("refuses groups that are not the model's", async () => {
    const foreign: DeltaSource = {
      groups: [{ layer: 0, modules: ["model.layers.0.self_attn.q_proj"], inFeatures: 64, outFeatures: [96] }],
      begin: () => expect.fail("never asked"),
    };
    const loading = load(golden("llama-f32"), undefined, { deltas: foreign });
    await expect(loading).rejects.toMatchObject({ code: "unsupported_adapter" });
  });

  it("reports progress, refuses wrong ids, and can be disposed twice", async () => {
    const fractions: number[] = [];
    const model = await load(golden("llama-f32"), join(golden("llama-f32"), "adapter"), {
      onProgress: (fraction) => fractions.push(fraction),
    });
    expect(fractions.at(-1)).toBe(1);
    expect(fractions).toEqual([...fractions].sort((a, b) => a - b));
    await expect(model.forward([300], model.newCache())).rejects.toThrow(RangeError);
    await expect(model.forward([], model.newCache())).rejects.toThrow(RangeError);
    await model.dispose();
    await model.dispose();
    await expect(model.forward([1], model.newCache())).rejects.toThrow(TypeError);
  });
});
