/**
 * The main claim: greedy ids through a provider process and a real socket are those of the plaintext LoRA and of
 * the published expectations, in both output modes. The error of the logits is printed beside.
 */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connect, type PrivateModel } from "../../src/client/client.ts";
import type { CausalLm } from "../../src/model/causal-lm.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import {
  goldenModel,
  goldenOf,
  greedyIds,
  lexicon,
  lexiconEntries,
  type TestModel,
  temporaryFolder,
} from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";

const folder = temporaryFolder();
afterAll(async () => {
  await stopProviders();
  folder.remove();
});

interface ErrorSize {
  readonly max: number;
  readonly rms: number;
}

function errorOf(got: Float32Array, want: Float32Array): ErrorSize {
  let [max, squares] = [0, 0];
  for (let i = 0; i < got.length; i++) {
    const error = Math.abs(got[i] - want[i]);
    max = Math.max(max, error);
    squares += error ** 2;
  }
  return { max, rms: Math.sqrt(squares / got.length) };
}

/** Logits that follow each position of prompt and answer, private against plaintext. */
async function logitError(privately: CausalLm, plain: CausalLm, ids: readonly number[]): Promise<ErrorSize> {
  const [got, want] = [
    await privately.forwardAll(ids, privately.newCache()),
    await plain.forwardAll(ids, plain.newCache()),
  ];
  return errorOf(got, want);
}

const ALL = lexiconEntries();
let test: TestModel;
let plain: CausalLm;
beforeAll(async () => {
  test = await lexicon();
  plain = await test.plaintext();
});
afterAll(() => plain?.dispose());

it("the plaintext LoRA gives the expected ids", async () => {
  for (const { word, prompt_ids, adapter } of ALL) {
    expect(await greedyIds(plain, prompt_ids), word).toEqual(adapter.ids);
  }
});

describe.each(["public-basis", "sealed"] as const)("%s", (output) => {
  describe("the embedded model", () => {
    // Sealed replies are twenty times longer; every third entry, law and plain ones, unless SLOW=1.
    const entries = ALL.filter((_, i) => output !== "sealed" || process.env.SLOW === "1" || i % 3 === 0);
    let model: PrivateModel;
    beforeAll(async () => {
      const state = join(folder.path, `lexicon-${output}`);
      await test.writeState(state, { output });
      const { url } = await startProvider(state);
      model = await connect(nodePlatform(), { base: test.checkpoint, provider: url });
    });
    afterAll(() => model?.close());

    it(`gives the expected ids on ${entries.length} of ${ALL.length} entries`, async () => {
      for (const { word, prompt_ids, adapter } of entries) {
        expect(await greedyIds(model.model, prompt_ids), word).toEqual(adapter.ids);
      }
      expect(model.provider.traffic.roundTrips).toBeGreaterThan(entries.length);
    });

    it("keeps the logits close", async () => {
      let [max, squares] = [0, 0];
      for (const { prompt_ids, adapter } of entries) {
        const error = await logitError(model.model, plain, [...prompt_ids, ...adapter.ids]);
        max = Math.max(max, error.max);
        squares += error.rms ** 2;
      }
      const rms = Math.sqrt(squares / entries.length);
      const gap = Math.min(...entries.map(({ adapter }) => adapter.min_gap));
      console.log(
        `lexicon ${output}: logit error max ${max.toFixed(4)}, rms ${rms.toFixed(5)}; least gap ${gap}`,
      );
      // Logits of this model spread over about 5; the least gap between the two largest is 0.059.
      expect(rms).toBeLessThan(0.05);
      expect(max).toBeLessThan(1);
    });
  });

  describe.each(["llama-f32", "llama-bf16-sharded"])("golden %s", (name) => {
    it("gives the golden ids; the plaintext gives the golden logits, the private ones are close", async () => {
      const want = goldenOf(name);
      const golden = await goldenModel(name);
      const plainGolden = await golden.plaintext();
      const state = join(folder.path, `${name}-${output}`);
      await golden.writeState(state, { output });
      const { url } = await startProvider(state);
      const model = await connect(nodePlatform(), { base: golden.checkpoint, provider: url });
      const options = { maxNewTokens: 16, eosIds: [] };
      expect(await greedyIds(plainGolden, want.input_ids, options)).toEqual(want.greedy_ids_adapter);
      expect(await greedyIds(model.model, want.input_ids, options)).toEqual(want.greedy_ids_adapter);

      const plainLogits = await plainGolden.forward(want.input_ids, plainGolden.newCache());
      for (const [i, logit] of want.logits_last_adapter.entries()) {
        expect(Math.abs(plainLogits[i] - logit)).toBeLessThanOrEqual(5e-5 + 5e-5 * Math.abs(logit));
      }
      const all = [...want.input_ids, ...want.greedy_ids_adapter];
      const { max, rms } = await logitError(model.model, plainGolden, all);
      console.log(
        `${name} ${output}: logit error max ${max.toFixed(5)}, rms ${rms.toFixed(6)}; least gap ${want.greedy_min_gap_adapter}`,
      );
      expect(rms).toBeLessThan(0.01);
      expect(max).toBeLessThan(0.05);
      await model.close();
      await plainGolden.dispose();
    });
  });
});
