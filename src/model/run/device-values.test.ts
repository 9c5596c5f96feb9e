/** What a device keeps between segments: nobody reads it here, and its memory is given back. */
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { goldenHfFolder, goldenHfOf } from "../../../test/support/golden-hf.ts";
import type { Tensor, TensorRuntime } from "../../base/platform.ts";
import { nodeFileTree, nodePlatform } from "../../platform/node.ts";
import { openCheckpoint } from "../../weights/checkpoint.ts";
import { openLoraAdapter } from "../../weights/lora-adapter.ts";
import { fitAdapter } from "../adapter/fit-adapter.ts";
import { LocalLora } from "../adapter/local-lora.ts";
import { CausalLm } from "../causal-lm.ts";
import type { LoadOptions } from "../load-options.ts";

/** The processor, with the manners of a device that has memory apart. */
class FarRuntime implements TensorRuntime {
  readonly device = "webgpu";
  readonly keepsOutputs = true;
  readonly isRight: (tokens: number) => boolean;
  /** Tensors that lie there now. */
  readonly held = new Set<Tensor>();
  /** float32 entries of activations that came back, by the name of the output. */
  readonly came = new Map<string, number>();
  kept = 0;
  onPass = (_tokens: number): void => {};

  /** @param isRight for how many tokens at a time attention is */
  constructor(isRight: (tokens: number) => boolean = () => true) {
    this.isRight = isRight;
  }

  async createSession(...[model, options = {}]: Parameters<TensorRuntime["createSession"]>) {
    const session = await nodePlatform().tensors.createSession(model, options);
    const keep = new Set(options.onHost ? [] : options.keep);
    return {
      run: async (inputs: Readonly<Record<string, Tensor>>) => {
        if (inputs.ids) this.onPass(inputs.ids.dims[1]);
        const feeds = Object.entries(inputs).map(([name, tensor]) => [name, CONTENT.get(tensor) ?? tensor]);
        const results = await session.run(Object.fromEntries(feeds));
        if (results.y && !options.onHost && !this.isRight(results.y.dims[1]))
          (results.y.data as Float32Array).fill(0);
        for (const [name, tensor] of Object.entries(results)) {
          if (keep.has(name)) results[name] = this.#far(tensor);
          else if (!options.onHost) this.came.set(name, tensor.data.length);
        }
        return results;
      },
      dispose: () => session.dispose(),
    };
  }

  #far(tensor: Tensor): Tensor {
    this.kept++;
    const far: Tensor = {
      type: tensor.type,
      dims: tensor.dims,
      get data(): never {
        throw new TypeError("the tensor lies on the device");
      },
      free: () => {
        expect(this.held.delete(far)).toBe(true);
        CONTENT.delete(far);
      },
    };
    this.held.add(far);
    CONTENT.set(far, tensor);
    return far;
  }
}
const CONTENT = new Map<Tensor, Tensor>();

const models: CausalLm[] = [];
afterEach(async () => {
  await Promise.all(models.splice(0).map((model) => model.dispose()));
});

async function adapted(name: string, runtime: FarRuntime, options: LoadOptions = {}) {
  const checkpoint = await openCheckpoint(nodeFileTree(goldenHfFolder(name)));
  const adapter = await openLoraAdapter(nodeFileTree(join(goldenHfFolder(name), "adapter")));
  const deltas = new LocalLora(await fitAdapter(adapter, checkpoint));
  const model = await CausalLm.load(checkpoint, runtime, { ...options, deltas });
  models.push(model);
  return { model, deltas };
}

describe.each(["tiny/qwen3", "tiny/exaone4", "tiny/gpt_oss", "tiny/qwen3_5_text", "tiny/gemma4_text"])(
  "%s",
  (name) => {
    const { input_ids: ids, logits_last_adapter: want } = goldenHfOf(name);

    it("has the same logits, and nothing is left behind", async () => {
      const runtime = new FarRuntime();
      const { model } = await adapted(name, runtime, { passTokens: 5 });
      const cache = model.newCache();
      await model.forward(ids.slice(0, -1), cache);
      const got = await model.forward(ids.slice(-1), cache);
      for (const [i, logit] of want.entries())
        expect(Math.abs(got[i] - logit)).toBeLessThan(2e-4 + 1e-4 * Math.abs(logit));
      expect(runtime.kept).toBeGreaterThan(0);
      cache.dispose();
      expect(runtime.held.size).toBe(0);
    });
  },
);

describe("keys and values", () => {
  const { input_ids: ids, logits_last: want } = goldenHfOf("tiny/qwen3");
  const plain = async (runtime: FarRuntime) => {
    const model = await CausalLm.load(
      await openCheckpoint(nodeFileTree(goldenHfFolder("tiny/qwen3"))),
      runtime,
    );
    models.push(model);
    return model;
  };

  it("lie there, are shared by copies, and are freed with the last of them", async () => {
    const runtime = new FarRuntime();
    const model = await plain(runtime);
    const cache = model.newCache();
    await model.forward(ids.slice(0, 7), cache);
    const ofOne = runtime.held.size;
    expect(ofOne).toBe(2 * model.config.layers);
    const copies = [cache.fork(5), cache.fork(7)];
    expect(runtime.held.size).toBe(ofOne);
    cache.truncate(6);
    const all = [cache, ...copies];
    for (const each of all) {
      const got = await model.forward(ids.slice(each.length), each);
      for (const [i, logit] of want.entries())
        expect(Math.abs(got[i] - logit)).toBeLessThan(2e-4 + 1e-4 * Math.abs(logit));
    }
    expect(runtime.held.size).toBe(3 * ofOne);
    for (const [i, each] of all.entries()) {
      each.dispose();
      expect(runtime.held.size).toBe((2 - i) * ofOne);
    }
  });

  it("of a pass that fails are behind those that count", async () => {
    const runtime = new FarRuntime();
    const { model, deltas } = await adapted("tiny/qwen3", runtime);
    const { input_ids: ids, logits_last_adapter: want } = goldenHfOf("tiny/qwen3");
    const cache = model.newCache();
    await model.forward(ids.slice(0, 6), cache);
    const { begin } = deltas;
    let calls = 0;
    deltas.begin = (...asked) => {
      if (++calls > 4) throw new Error("gone");
      return begin.apply(deltas, asked);
    };
    await expect(model.forward([1, 2, 3, 4], cache)).rejects.toThrow("gone");
    deltas.begin = begin;
    const got = await model.forward(ids.slice(6), cache);
    for (const [i, logit] of want.entries())
      expect(Math.abs(got[i] - logit)).toBeLessThan(2e-4 + 1e-4 * Math.abs(logit));
  });
});

it("a pass has only as many tokens as the device attends to rightly", async () => {
  const checkpoint = await openCheckpoint(nodeFileTree(goldenHfFolder("tiny/qwen3")));
  const runtime = new FarRuntime((tokens) => tokens < 32);
  const model = await CausalLm.load(checkpoint, runtime);
  models.push(model);
  const passes: number[] = [];
  runtime.onPass = (tokens) => passes.push(tokens);
  await model.forward(
    Array.from({ length: 80 }, (_, i) => i % 40),
    model.newCache(),
  );
  expect(Math.max(...passes)).toBeLessThan(32);
  await expect(CausalLm.load(checkpoint, new FarRuntime(() => false))).rejects.toMatchObject({
    code: "unsupported_model",
    message: "webgpu attends otherwise here than the processor",
  });
});

it("brings back x of each group and logits, and nothing else", async () => {
  const runtime = new FarRuntime();
  // Of groups that are asked together the sum and the product come too.
  const { model, deltas } = await adapted("tiny/qwen3", runtime, { lookAhead: false });
  runtime.came.clear();
  await model.forward([1], model.newCache());
  const sizes = [...runtime.came].filter(([name]) => name !== "logits");
  // One for each group, or fewer where two read the same x.
  expect(sizes.length).toBeGreaterThan(0);
  expect(sizes.length).toBeLessThanOrEqual(deltas.groups.length);
});

it("is given back when a pass fails between segments", async () => {
  const runtime = new FarRuntime();
  const { model, deltas } = await adapted("tiny/qwen3", runtime);
  const { begin } = deltas;
  let calls = 0;
  deltas.begin = (...asked) => {
    if (++calls > 2) throw new Error("gone");
    return begin.apply(deltas, asked);
  };
  const cache = model.newCache();
  await expect(model.forward([1, 2, 3, 4], cache)).rejects.toThrow("gone");
  expect(runtime.kept).toBeGreaterThan(0);
  cache.dispose();
  expect(runtime.held.size).toBe(0);
});
