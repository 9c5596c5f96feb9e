/**
 * From a provider with marks to a verdict: accounts steal an adapter through the public client, write what they have as a
 * PEFT adapter or into a whole model, and `tacet trace` names them.
 */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { groupView } from "../../src/audit/group-view.ts";
import { Oracle } from "../../src/audit/oracle.ts";
import { unitShift } from "../../src/audit/attacks/unit-queries.ts";
import { type Bundle, decodeBundle } from "../../src/bundle/bundle.ts";
import { RemoteProvider } from "../../src/client/remote-provider.ts";
import { openPrivateModel } from "../../src/client/private-model.ts";
import { nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { fingerprintCheckpoint } from "../../src/weights/fingerprint.ts";
import {
  encodeSafetensors,
  openSafetensors,
  readTensorF32,
  type TensorToEncode,
} from "../../src/weights/safetensors.ts";
import { bytesOf } from "../../src/base/bytes.ts";
import {
  goldenFolder,
  goldenModel,
  goldenNames,
  goldenOf,
  greedyIds,
  lexicon,
  lexiconEntries,
  type TestModel,
  temporaryFolder,
} from "../support/models.ts";
import { type ProviderProcess, startProvider, stopProviders } from "../support/provider-process.ts";

const NAME = "llama-f32";
const MAIN = join(import.meta.dirname, "../../dist/cli/main.js");
const folder = temporaryFolder();
const state = join(folder.path, "state");
const data = join(folder.path, "data");
const run = promisify(execFile);

let model: TestModel;
let bundle: Bundle;
let provider: ProviderProcess;
const tokens = new Map<string, string>();
beforeAll(async () => {
  model = await goldenModel(NAME);
  await model.writeState(state);
  bundle = await decodeBundle(readFileSync(join(state, "bundle.safetensors")));
  for (const account of ["alice", "bob", "carol"]) {
    const { stdout } = await run("node", [
      ...[MAIN, "keys", "create", "--data", data, "--account", account, "--budget", "100000", "--json"],
    ]);
    tokens.set(account, JSON.parse(stdout).key);
  }
  provider = await startProvider(state, { args: ["--data", data, "--marks"] });
});
afterAll(async () => {
  await stopProviders();
  folder.remove();
});

/** W + D as an account can read it with a query for each column: (rows, n) of each group, in real units. */
async function steal(account: string): Promise<Float64Array[]> {
  const baseFingerprint = await fingerprintCheckpoint(model.checkpoint);
  const options = { url: provider.url, baseFingerprint, token: tokens.get(account)! };
  const { provider: remote } = await RemoteProvider.connect(nodePlatform(), options);
  const copies: Float64Array[] = [];
  for (const [g, { inFeatures: n }] of bundle.manifest.groups.entries()) {
    const view = groupView(bundle, g);
    const shift = unitShift(view);
    const words = await new Oracle(view, remote).askFunctional(n, shift, (t, z) => void (z[t] = 1));
    const copy = new Float64Array(view.rows * n);
    for (const [i, word] of words.entries()) {
      const row = i % view.rows;
      copy[row * n + Math.floor(i / view.rows)] = (word / 2 ** shift) * view.tensors.scales[row];
    }
    copies.push(copy);
  }
  remote.close();
  return copies;
}

/** A copy as an adapter: A what was read, B the published basis. */
function writeAdapter(dir: string, copies: readonly Float64Array[]): void {
  const tensors = bundle.manifest.groups.flatMap(({ modules, inFeatures: n }, g) => {
    let first = 0;
    return modules.flatMap(({ name, rows, outFeatures }, i) => {
      const a = Float32Array.from(copies[g].subarray(first * n, (first + rows) * n));
      first += rows;
      const basis = bundle.groups[g].bases[i];
      const tensor = (side: string, shape: number[], values: Float32Array): TensorToEncode => {
        const tensor = `base_model.model.${name}.lora_${side}.weight`;
        return { name: tensor, dtype: "F32", shape, data: bytesOf(values) };
      };
      return [tensor("A", [rows, n], a), tensor("B", [outFeatures, rows], basis)];
    });
  });
  const ranks = Object.fromEntries(
    bundle.manifest.groups.flatMap(({ modules }) => modules.map(({ name, rows }) => [name, rows])),
  );
  const config = { peft_type: "LORA", r: 1, lora_alpha: 1, rank_pattern: ranks, alpha_pattern: ranks };
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "adapter_config.json"), JSON.stringify(config));
  writeFileSync(join(dir, "adapter_model.safetensors"), encodeSafetensors(tensors, {}));
}

async function trace(
  copy: string,
  ...args: string[]
): Promise<{ named: string[]; best: number; verdict: string }> {
  const { stdout } = await run("node", [
    ...[MAIN, "trace", "--state", state, "--data", data, "--copy", copy, "--json", ...args],
  ]);
  const { accounts, verdict } = JSON.parse(stdout);
  const named = accounts.filter(({ isNamed }: { isNamed: boolean }) => isNamed);
  return {
    named: named.map(({ account }: { account: string }) => account),
    best: accounts[0].score,
    verdict,
  };
}

it("the thief is named, also where the account is revoked and the provider was started anew", async () => {
  const before = await steal("bob");
  await provider.kill("SIGTERM");
  provider = await startProvider(state, { args: ["--data", data, "--marks"] });
  const copies = (await steal("bob")).map((after, g) => after.map((value, i) => (value + before[g][i]) / 2));
  writeAdapter(join(folder.path, "copy"), copies);
  const { stdout } = await run("node", [MAIN, "keys", "list", "--data", data, "--json"]);
  const key = JSON.parse(stdout).keys.find(({ account }: { account: string }) => account === "bob");
  await run("node", [MAIN, "keys", "revoke", key.id, "--data", data]);
  const plot = join(folder.path, "trace.svg");
  const { named, best, verdict } = await trace(join(folder.path, "copy"), "--plot", plot);
  console.log(`bob: ${best.toFixed(1)} standard deviations. ${verdict}`);
  expect(named).toEqual(["bob"]);
  expect(readFileSync(plot, "utf8")).toContain("bob");
});

it("two who put their copies together are named, merged into a whole model too, and nobody else", async () => {
  const [one, two] = [await steal("alice"), await steal("carol")];
  const copies = one.map((values, g) => values.map((value, i) => (value + two[g][i]) / 2));
  writeAdapter(join(folder.path, "joined"), copies);
  expect((await trace(join(folder.path, "joined"))).named.sort()).toEqual(["alice", "carol"]);

  const base = goldenFolder(NAME);
  const merged = join(folder.path, "merged");
  mkdirSync(merged, { recursive: true });
  const tree = nodeFileTree(base);
  const { tensors } = await openSafetensors(tree, "model.safetensors", "bad_checkpoint");
  const written = [];
  for (const info of tensors.values()) {
    const values = await readTensorF32(tree, info, "bad_checkpoint");
    for (const [g, { modules, inFeatures: n }] of bundle.manifest.groups.entries()) {
      let first = 0;
      for (const [i, { name, rows, outFeatures }] of modules.entries()) {
        if (info.name === `${name}.weight`) {
          const basis = bundle.groups[g].bases[i];
          for (let o = 0; o < outFeatures; o++) {
            for (let r = 0; r < rows; r++) {
              for (let j = 0; j < n; j++)
                values[o * n + j] += basis[o * rows + r] * copies[g][(first + r) * n + j];
            }
          }
        }
        first += rows;
      }
    }
    written.push({ name: info.name, dtype: "F32" as const, shape: info.shape, data: bytesOf(values) });
  }
  writeFileSync(join(merged, "model.safetensors"), encodeSafetensors(written, {}));
  writeFileSync(join(merged, "config.json"), readFileSync(join(base, "config.json")));
  expect((await trace(merged, "--base", base)).named.sort()).toEqual(["alice", "carol"]);
});

it("the provider's own adapter names nobody, and the verdict says that this clears nobody", async () => {
  const { named, verdict } = await trace(join(goldenFolder(NAME), "adapter"));
  expect(named).toEqual([]);
  expect(verdict).toContain("clears nobody");
});

it("the lexicon's answers are the expected ones with marks too, but for near ties", {
  timeout: 300_000,
}, async () => {
  const law = await lexicon();
  const lawState = join(folder.path, "law");
  await law.writeState(lawState);
  const { stdout } = await run("node", [
    ...[
      MAIN,
      "keys",
      "create",
      "--data",
      join(folder.path, "law-data"),
      "--account",
      "x",
      "--budget",
      "100000",
      "--json",
    ],
  ]);
  const served = await startProvider(lawState, {
    args: ["--data", join(folder.path, "law-data"), "--marks"],
  });
  const remote = await openPrivateModel(nodePlatform(), {
    base: law.checkpoint,
    provider: served.url,
    token: JSON.parse(stdout).key,
  });
  const other: string[] = [];
  for (const { word, prompt_ids, adapter } of lexiconEntries()) {
    const ids = await greedyIds(remote.model, prompt_ids);
    if (ids.join() !== adapter.ids.join()) other.push(`${word} (least gap ${adapter.min_gap})`);
  }
  console.log(`with marks ${other.length} of ${lexiconEntries().length} answers differ: ${other.join(", ")}`);
  // Some 0.3 are expected, by the noise that is predicted without marks, times √2: five by chance once in 10^5 runs.
  expect(other.length).toBeLessThanOrEqual(4);
  await remote.close();
});

it.each(goldenNames())(
  "golden %s: answers are the golden ones all the same, and clients are told",
  async (name) => {
    const golden = await goldenModel(name);
    const [own, keys] = [join(folder.path, name), join(folder.path, `${name}-data`)];
    await golden.writeState(own);
    const { stdout } = await run("node", [
      ...[MAIN, "keys", "create", "--data", keys, "--account", "dave", "--budget", "100000", "--json"],
    ]);
    const { url } = await startProvider(own, { args: ["--data", keys, "--marks"] });
    const token = JSON.parse(stdout).key;
    const remote = await openPrivateModel(nodePlatform(), { base: golden.checkpoint, provider: url, token });
    expect(remote.provider.welcome.marked).toBe(true);
    const want = goldenOf(name);
    const ids = await greedyIds(remote.model, want.input_ids, { maxNewTokens: 16, eosIds: [] });
    expect(ids).toEqual(want.greedy_ids_adapter);
    await remote.close();
  },
);
