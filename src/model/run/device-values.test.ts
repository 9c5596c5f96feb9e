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
  /** Tensors that lie there now. */
  readonly held = new Set<Tensor>();
  /** float32 entries of activations that came back, by the name of the output. */
  readonly came = new Map<string, number>();
  kept = 0;

  async createSession(...[model, options = {}]: Parameters<TensorRuntime["createSession"]>) {
    const session = await nodePlatform().tensors.createSession(model, options);
    const keep = new Set(options.onHost ? [] : options.keep);
    return {
      run: async (inputs: Readonly<Record<string, Tensor>>) => {
        const feeds = Object.entries(inputs).map(([name, tensor]) => [name, CONTENT.get(tensor) ?? tensor]);
        const results = await session.run(Object.fromEntries(feeds));
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
      expect(runtime.held.size).toBe(0);
    });
  },
);

it("brings back x of each group, new rows of the cache and logits, and nothing else", async () => {
  const runtime = new FarRuntime();
  // Of groups that are asked together the sum and the product come too.
  const { model, deltas } = await adapted("tiny/qwen3", runtime, { lookAhead: false });
  await model.forward([1], model.newCache());
  const sizes = [...runtime.came].filter(([name]) => !/^new\.\d+$|^logits$/.test(name));
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
  await expect(model.forward([1, 2, 3, 4], model.newCache())).rejects.toThrow("gone");
  expect(runtime.kept).toBeGreaterThan(0);
  expect(runtime.held.size).toBe(0);
});
