/**
 * Checkpoints and adapters that transformers and peft have written and computed, asked through a provider process:
 * plaintext gives their logits and ids, and the private model the same ids.
 *
 * They are not part of the repository: a folder beside it, ../shared, has them. Where it is absent nothing runs here.
 * Each subfolder is a checkpoint with an `adapter` folder and expected.json. Whatever the registry of families has is
 * run; a new family or kind of adapter only takes its name from NOT_SERVED.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TacetError } from "../../src/base/errors.ts";
import { openPrivateModel } from "../../src/client/private-model.ts";
import { architectureOf } from "../../src/model/architectures/registry.ts";
import { CausalLm } from "../../src/model/causal-lm.ts";
import { nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import {
  cacheFor,
  type Golden,
  greedyIds,
  openTestModel,
  type TestModel,
  temporaryFolder,
} from "../support/models.ts";
import { checkPrivateAnswers } from "../support/private-answers.ts";
import { type ProviderProcess, startProvider, stopProviders } from "../support/provider-process.ts";

const SHARED = fileURLToPath(new URL("../../../shared", import.meta.url));

/** Refused today, with an error of this code, though the registry has the family. */
const NOT_SERVED: Readonly<Record<string, TacetError["code"]>> = {
  "golden-peft/olora-raw": "unsupported_adapter",
};

/**
 * A router sends a token to the experts that it likes best: where two are nearly as likely, errors decide, and the logits
 * jump. The limits know of such a jump only if one of the 33 runs that they are made of had it. So a model with experts
 * may fail in two sessions, each with its own key and masks, and must pass in one of three: for whatever probability p of
 * a jump, the chance that no run had it and three sessions do, (1 - p)^33·p^3, is below 4 in 100,000. A fault shows in
 * each.
 */
const SESSIONS_OF_EXPERTS = 3;
const hasExperts = (config: Readonly<Record<string, unknown>>) =>
  config.num_experts !== undefined || config.num_local_experts !== undefined;

interface Expected extends Golden {
  readonly logits_last: readonly number[];
  readonly greedy_ids: readonly number[];
}

function folders(of: string): { name: string; path: string }[] {
  const root = join(SHARED, of);
  if (!existsSync(root)) return [];
  return readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(root, entry.name, "expected.json")))
    .map(({ name }) => ({ name: `${of}/${name}`, path: join(root, name) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

const readJson = (path: string) => JSON.parse(readFileSync(path, "utf8"));

function isInRegistry(path: string): boolean {
  try {
    architectureOf(readJson(join(path, "config.json")));
    return true;
  } catch (error) {
    if (error instanceof TacetError && error.code === "unsupported_model") return false;
    throw error;
  }
}

const all = [...folders("golden-hf"), ...folders("golden-peft")];
const known = all.filter(({ path }) => isInRegistry(path));
const unknown = all.filter((folder) => !known.includes(folder));

const scratch = temporaryFolder();
const states = join(scratch.path, "states");
afterAll(async () => {
  await stopProviders();
  scratch.remove();
});

/** The bound that the folders' README gives. */
function expectLogits(got: Float32Array, want: readonly number[]): void {
  expect(got.length).toBe(want.length);
  for (const [i, logit] of want.entries()) {
    expect(Math.abs(got[i] - logit), `logit ${i}`).toBeLessThanOrEqual(2e-4 + 1e-4 * Math.abs(logit));
  }
}

describe.skipIf(all.length === 0)("golden folders of ../shared, where that is present", () => {
  it("are of families in the registry, or listed here", () => {
    console.log(
      `run: ${known.length} folders; not in the registry: ${unknown.map(({ name }) => name).join(", ")}`,
    );
    const names = new Set(all.map(({ name }) => name));
    expect(Object.keys(NOT_SERVED).filter((name) => !names.has(name))).toEqual([]);
  });

  const refused = known.filter(({ name }) => NOT_SERVED[name] !== undefined);
  it.each(refused)("$name is refused, not served wrongly", async ({ name, path }) => {
    const opening = openTestModel(path, join(path, "adapter")).then(async (test) => {
      await (await test.plaintext()).dispose();
    });
    const error = await opening.then(
      () => undefined,
      (error: unknown) => error,
    );
    if (error instanceof TacetError) console.log(`${name}: ${error.code}: ${error.message}`);
    expect(error, `${name} is served: take it from NOT_SERVED`).toBeInstanceOf(TacetError);
    expect((error as TacetError).code).toBe(NOT_SERVED[name]);
  });

  const served = known.filter(({ name }) => NOT_SERVED[name] === undefined);
  const adapterOf = (name: string) => name.replaceAll("/", "-");
  const tests = new Map<string, { test: TestModel; state: string }>();
  /** What a folder's own test says. */
  const failures = new Map<string, unknown>();
  /** Serves all of them. */
  let provider: ProviderProcess;
  beforeAll(async () => {
    for (const { name, path } of served) {
      const state = join(states, adapterOf(name));
      try {
        const test = await openTestModel(path, join(path, "adapter"));
        await test.writeState(state, { name: adapterOf(name) });
        tests.set(name, { test, state });
      } catch (error) {
        failures.set(name, error);
      }
    }
    const [first, ...others] = Array.from(tests.values(), ({ state }) => state);
    provider = await startProvider(first, { args: others.flatMap((state) => ["--state", state]) });
  });

  it.each(served)(
    "$name: plaintext gives the golden logits and ids, the private model its ids",
    async ({ name, path }) => {
      const want: Expected = readJson(join(path, "expected.json"));
      const prompt = want.input_ids;
      const platform = nodePlatform();
      const checkpoint = await openCheckpoint(nodeFileTree(path));
      const base = await CausalLm.load(checkpoint, platform.tensors);
      expectLogits(await base.forward(prompt, base.newCache()), want.logits_last);
      const idsOf = (golden: readonly number[]) => ({ maxNewTokens: golden.length, eosIds: [] });
      expect(await greedyIds(base, prompt, idsOf(want.greedy_ids))).toEqual(want.greedy_ids);
      await base.dispose();

      const opened = tests.get(name);
      if (opened === undefined) throw failures.get(name);
      const { test, state } = opened;
      const plain = await test.plaintext();
      expectLogits(await plain.forward(prompt, cacheFor(plain, prompt)), want.logits_last_adapter);
      const options = idsOf(want.greedy_ids_adapter);
      expect(await greedyIds(plain, prompt, options)).toEqual(want.greedy_ids_adapter);

      const inSession = async () => {
        const model = await openPrivateModel(platform, {
          base: test.checkpoint,
          provider: provider.url,
          adapter: adapterOf(name),
        });
        try {
          if (model.model.adaptedFrom(prompt) === Number.POSITIVE_INFINITY) {
            // An activated LoRA that the prompt does not invoke: nothing is asked, and there is no noise.
            expect(await greedyIds(model.model, prompt, options)).toEqual(want.greedy_ids_adapter);
            expect(model.provider.traffic.vectors).toBe(0);
            return;
          }
          const answered = [{ prompt, answer: want.greedy_ids_adapter }];
          const privately = model.model;
          await checkPrivateAnswers({ label: name, test, state, plain, privately, answered, options });
        } finally {
          await model.close();
        }
      };
      try {
        for (let left = hasExperts(test.checkpoint.config) ? SESSIONS_OF_EXPERTS : 1; left > 0; ) {
          try {
            await inSession();
            break;
          } catch (error) {
            if (--left === 0) throw error;
            console.log(`${name}: another session, after: ${(error as Error).message}`);
          }
        }
      } finally {
        await plain.dispose();
      }
    },
  );
});
