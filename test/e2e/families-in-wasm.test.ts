/** Every family on the runtime that browsers have, ONNX Runtime's WebAssembly build: transformers' logits and ids. */
import { join } from "node:path";
import * as ort from "onnxruntime-web/wasm";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { fitAdapter } from "../../src/model/adapter/fit-adapter.ts";
import { LocalLora } from "../../src/model/adapter/local-lora.ts";
import { CausalLm } from "../../src/model/causal-lm.ts";
import { nodeFileTree } from "../../src/platform/node.ts";
import { webTensorRuntime } from "../../src/platform/web/tensors.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { openLoraAdapter } from "../../src/weights/lora-adapter.ts";
import { goldenHfFolder, goldenHfNames, goldenHfOf } from "../support/golden-hf.ts";

beforeAll(() => {
  // What a page without threads says of itself.
  vi.stubGlobal("crossOriginIsolated", false);
  ort.env.wasm.numThreads = 1;
});

describe.each(goldenHfNames().filter((name) => name.startsWith("tiny/")))("%s", (name) => {
  it("gives the adapted model's logits, asked for and inside the graph, and the base's, read in two passes", async () => {
    const folder = goldenHfFolder(name);
    const { input_ids: ids, logits_last: alone, logits_last_adapter: adapted } = goldenHfOf(name);
    const checkpoint = await openCheckpoint(nodeFileTree(folder));
    const adapter = await openLoraAdapter(nodeFileTree(join(folder, "adapter")));
    const deltas = new LocalLora(await fitAdapter(adapter, checkpoint));
    const uses = [{ deltas }, { adapter }, {}];
    const models = await CausalLm.loadShared(checkpoint, webTensorRuntime(ort), uses);
    for (const [m, want] of [adapted, adapted, alone].entries()) {
      const cache = models[m].newCache();
      await models[m].forward(ids.slice(0, 6), cache);
      const got = await models[m].forward(ids.slice(6), cache);
      for (const [i, logit] of want.entries()) {
        const allowed = 2e-4 + 1e-4 * Math.abs(logit);
        expect(Math.abs(got[i] - logit), `model ${m}, logit ${i}`).toBeLessThanOrEqual(allowed);
      }
      await models[m].dispose();
    }
  });
});
