/** Adapters of experts and of their router, held to peft on each way in which a checkpoint stores experts. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { goldenHfFolder, goldenHfNames } from "../../../test/support/golden-hf.ts";
import { nodeFileTree, nodePlatform } from "../../platform/node.ts";
import { openCheckpoint } from "../../weights/checkpoint.ts";
import { openLoraAdapter } from "../../weights/lora-adapter.ts";
import { CausalLm } from "../causal-lm.ts";
import { fitAdapter } from "./fit-adapter.ts";
import { LocalLora } from "./local-lora.ts";

const models: CausalLm[] = [];
afterEach(async () => {
  await Promise.all(models.splice(0).map((model) => model.dispose()));
});

/** Written by tools/expert-adapters.py. */
const NAMES = goldenHfNames().filter((name) => existsSync(join(goldenHfFolder(name), "experts")));

describe.each(NAMES)("%s", (name) => {
  it("has peft's logits inside the graph and cut, in one pass and in several", async () => {
    const folder = join(goldenHfFolder(name), "experts");
    const want = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8"));
    const checkpoint = await openCheckpoint(nodeFileTree(goldenHfFolder(name)));
    const adapter = await openLoraAdapter(nodeFileTree(folder));
    const deltas = new LocalLora(await fitAdapter(adapter, checkpoint));
    for (const options of [{ adapter }, { deltas }, { deltas, passTokens: 3 }]) {
      const model = await CausalLm.load(checkpoint, nodePlatform().tensors, options);
      models.push(model);
      const got = await model.forward(want.input_ids, model.newCache());
      for (const [i, logit] of (want.logits_last as number[]).entries()) {
        expect(Math.abs(got[i] - logit), `logit ${i}`).toBeLessThanOrEqual(2e-4 + 1e-4 * Math.abs(logit));
      }
    }
  });
});

it("runs on all of them", () => expect(NAMES.length).toBeGreaterThanOrEqual(4));
