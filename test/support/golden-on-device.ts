/**
 * Runs golden models on a device, and prints how far their logits are from transformers': the largest error, as a share
 * of what the processor is held to.
 *
 *   node --import tsx test/support/golden-on-device.ts webgpu tiny/qwen3 …
 */
import { join } from "node:path";
import { checkDevice } from "../../src/base/device.ts";
import type { TacetError } from "../../src/base/errors.ts";
import { fitAdapter } from "../../src/model/adapter/fit-adapter.ts";
import { LocalLora } from "../../src/model/adapter/local-lora.ts";
import { CausalLm } from "../../src/model/causal-lm.ts";
import { nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { openLoraAdapter } from "../../src/weights/lora-adapter.ts";
import { goldenHfFolder, goldenHfOf } from "./golden-hf.ts";

const [device, ...names] = process.argv.slice(2);
const { tensors } = nodePlatform({ device: checkDevice(device) });

async function worstOf(name: string): Promise<number> {
  const { input_ids: ids, logits_last: plain, logits_last_adapter: adapted } = goldenHfOf(name);
  const checkpoint = await openCheckpoint(nodeFileTree(goldenHfFolder(name)));
  const adapter = await openLoraAdapter(nodeFileTree(join(goldenHfFolder(name), "adapter")));
  const deltas = new LocalLora(await fitAdapter(adapter, checkpoint));
  let worst = 0;
  for (const [options, want] of [
    [{}, plain],
    [{ adapter }, adapted],
    [{ deltas }, adapted],
  ] as const) {
    const model = await CausalLm.load(checkpoint, tensors, options);
    const cache = model.newCache();
    await model.forward(ids.slice(0, 6), cache);
    const got = await model.forward(ids.slice(6), cache);
    for (const [i, logit] of want.entries()) {
      worst = Math.max(worst, Math.abs(got[i] - logit) / (2e-4 + 1e-4 * Math.abs(logit)));
    }
    await model.dispose();
  }
  return worst;
}

const answers: object[] = [];
for (const name of names) {
  try {
    answers.push({ name, worst: await worstOf(name) });
  } catch (error) {
    const { code, message } = error as TacetError;
    answers.push({ name, code, message });
  }
}
console.log(JSON.stringify(answers));
