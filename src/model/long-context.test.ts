/** A long context costs each token no more than its length: what leaves the sessions, is copied and is allocated. */
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import type { Tensor, TensorRuntime } from "../base/platform.ts";
import { nodeFileTree } from "../platform/node/files/file-tree.ts";
import { nodeTensorRuntime } from "../platform/node/tensors.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { CausalLm } from "./causal-lm.ts";
import type { LoadOptions } from "./load-options.ts";
import { KvCache } from "./kv-cache.ts";

const LLAMA = fileURLToPath(new URL("../../test/fixtures/golden/llama-f32", import.meta.url));

interface Pass {
  readonly tokens: number;
  readonly inputs: readonly Tensor[];
  readonly outputBytes: number;
}

const models: CausalLm[] = [];
afterEach(async () => {
  await Promise.all(models.splice(0).map((model) => model.dispose()));
});

/** A model, and what goes into its session and comes out. */
async function watched(options: LoadOptions = {}): Promise<{ model: CausalLm; passes: Pass[] }> {
  const passes: Pass[] = [];
  const runtime = nodeTensorRuntime();
  const watching: TensorRuntime = {
    async createSession(onnx, sessionOptions) {
      const session = await runtime.createSession(onnx, sessionOptions);
      return {
        dispose: () => session.dispose(),
        async run(inputs) {
          const outputs = await session.run(inputs);
          const outputBytes = Object.values(outputs).reduce((sum, { data }) => sum + data.byteLength, 0);
          const cached = Object.entries(inputs).filter(([name]) => name.startsWith("past."));
          passes.push({
            tokens: inputs.ids.dims[1],
            inputs: cached.map(([, tensor]) => tensor),
            outputBytes,
          });
          return outputs;
        },
      };
    },
  };
  const model = await CausalLm.load(await openCheckpoint(nodeFileTree(LLAMA)), watching, options);
  models.push(model);
  return { model, passes };
}

const ids = (count: number): number[] => Array.from({ length: count }, (_, i) => (i * 37 + 11) % 100);

describe("a decode step", () => {
  it("gives new rows and logits only, and is given the cache itself, however long it is", async () => {
    const { model, passes } = await watched();
    const cache = model.newCache();
    await model.forward(ids(10), cache);
    await model.forward([1], cache);
    await model.forward(ids(900), cache);
    await model.forward([1], cache);
    await model.forward([2], cache);
    const steps = passes.filter(({ tokens }) => tokens === 1);
    expect(new Set(steps.map(({ outputBytes }) => outputBytes)).size).toBe(1);
    const memory = new Map(cache.tensors());
    for (const step of steps.slice(1))
      expect(step.inputs).toEqual([...memory.values()].filter((t) => step.inputs.includes(t)));
    expect(steps[2].inputs).toHaveLength(memory.size);
  });
});

describe("the cache", () => {
  it("grows by an eighth: at most that much is not used, and 9 times as much is copied as is kept", () => {
    const shape = { layers: [{ kvHeads: 2, headDim: 4 }], maxTokens: 5000 };
    const cache = new KvCache(shape, 128);
    let copied = 0;
    for (let token = 0; token < 4096; token++) {
      const before = cache.capacity;
      cache.reserve(cache.length + 1);
      if (cache.capacity !== before) copied += cache.length;
      expect(cache.capacity).toBeLessThanOrEqual(Math.max(128, Math.ceil(1.125 * cache.length) + 64));
      cache.store(0, new Float32Array(2 * 2 * 4));
      cache.commit([0]);
    }
    expect(copied).toBeLessThan(9 * 4096);
    const allocated = [...cache.tensors()].reduce((sum, [, { data }]) => sum + data.byteLength, 0);
    expect(cache.bytes).toBe(allocated);
  });
});

describe("a long prompt", () => {
  it("is read in passes, with the same logits as in one", async () => {
    const prompt = ids(70);
    const whole = await watched({ passTokens: 100 });
    const parts = await watched({ passTokens: 32 });
    const [one, many] = [whole.model.newCache(), parts.model.newCache()];
    const close = (got: Float32Array, want: Float32Array): void => {
      expect(got).toHaveLength(want.length);
      for (let i = 0; i < want.length; i++) expect(Math.abs(got[i] - want[i])).toBeLessThan(1e-4);
    };
    close(await parts.model.forward(prompt, many), await whole.model.forward(prompt, one));
    expect(parts.passes.map(({ tokens }) => tokens)).toEqual([23, 23, 24]);
    expect(whole.passes.map(({ tokens }) => tokens)).toEqual([70]);
    close(await parts.model.forwardAll(prompt, many), await whole.model.forwardAll(prompt, one));
    expect(many.length).toBe(140);
  });

  it("of more than 512 tokens is several passes by default", async () => {
    const { model, passes } = await watched({ contextLength: 2000 });
    await model.forward(ids(1100), model.newCache());
    expect(passes.map(({ tokens }) => tokens)).toEqual([366, 367, 367]);
  });

  it("that is stopped between passes leaves the cache as it was", async () => {
    const controller = new AbortController();
    const { model, passes } = await watched({ passTokens: 8 });
    const cache = model.newCache();
    await model.forward(ids(5), cache);
    const push = passes.push.bind(passes);
    passes.push = (...more) => {
      controller.abort();
      return push(...more);
    };
    await expect(model.forward(ids(30), cache, { signal: controller.signal })).rejects.toMatchObject({
      code: "aborted",
    });
    expect(passes).toHaveLength(2);
    expect(cache.length).toBe(5);
  });
});
