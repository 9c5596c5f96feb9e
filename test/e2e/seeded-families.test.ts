/**
 * Private equals plaintext on a seeded checkpoint of each family, every linear module adapted: greedy ids through a
 * provider process, and the logits of all positions.
 */
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openPrivateModel } from "../../src/client/private-model.ts";
import type { CausalLm } from "../../src/model/causal-lm.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import { FAMILIES, type Family } from "../../tools/checkpoint/shapes.ts";
import { greedyIds, openTestModel, temporaryFolder } from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";
import { seededModel } from "../support/seeded-models.ts";

const folder = temporaryFolder();
afterAll(async () => {
  await stopProviders();
  folder.remove();
});

/** Where the usual one gives a model that ends in a short cycle. */
const SEEDS: Partial<Record<Family, string>> = { qwen3: "tacet-6", gpt2: "tacet-4" };
const PROMPT = [1, 17, 203, 44, 5, 99, 120, 7];
const GREEDY = { maxNewTokens: 16, eosIds: [] };

const logitsOf = (model: CausalLm, ids: readonly number[]) => model.forwardAll(ids, model.newCache());

/** Root mean square of the differences. */
function distance(one: Float32Array, two: Float32Array): number {
  let squares = 0;
  for (let i = 0; i < one.length; i++) squares += (one[i] - two[i]) ** 2;
  return Math.sqrt(squares / one.length);
}

/** Least distance between the two largest logits over the rows that chose an id. */
function leastGap(logits: Float32Array, vocab: number, first: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let row = first; row * vocab < logits.length; row++) {
    const [one, two] = logits
      .slice(row * vocab, (row + 1) * vocab)
      .sort()
      .slice(-2)
      .reverse();
    least = Math.min(least, one - two);
  }
  return least;
}

describe.each(FAMILIES)("%s", (family) => {
  it("gives the plaintext's ids, and logits close to its own", async () => {
    const made = seededModel(folder.path, family, { seed: SEEDS[family] ?? "tacet" });
    const test = await openTestModel(made.base, made.adapter("all"));
    const plain = await test.plaintext();
    const want = await greedyIds(plain, PROMPT, GREEDY);
    expect(new Set(want).size, "the seeded model does more than repeat itself").toBeGreaterThan(4);

    const state = join(folder.path, `${family}-state`);
    await test.writeState(state);
    const { url } = await startProvider(state);
    const remote = await openPrivateModel(nodePlatform(), { base: test.checkpoint, provider: url });
    const got = await greedyIds(remote.model, PROMPT, GREEDY);

    const ids = [...PROMPT, ...want.slice(0, -1)];
    const { vocabSize } = plain.config;
    const expected = await logitsOf(plain, ids);
    const error = distance(await logitsOf(remote.model, ids), expected);
    const gap = leastGap(expected, vocabSize, PROMPT.length - 1);
    console.log(`${family}: logit error rms ${error.toFixed(5)}, least gap ${gap.toFixed(4)}`);
    // A gap's error is √2 of a logit's: at 5 of these an id falls the other way once in some 4,000 places. The error itself
    // changes by a fifth from bundle to bundle.
    expect(gap, "no rounding decides an id").toBeGreaterThan(5 * error);
    expect(got).toEqual(want);
    // Logits have a spread of 2.
    expect(error).toBeLessThan(0.02);
    await remote.close();
    await plain.dispose();
  });
});
