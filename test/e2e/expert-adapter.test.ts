/**
 * Adapters of experts: what a provider is asked is the same whichever experts a router chooses, and what comes out is
 * what the adapter computes inside the graph.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { bytesOf, utf8 } from "../../src/base/bytes.ts";
import { openPrivateModel } from "../../src/client/private-model.ts";
import { fitAdapter } from "../../src/model/adapter/fit-adapter.ts";
import { LocalLora } from "../../src/model/adapter/local-lora.ts";
import { CausalLm } from "../../src/model/causal-lm.ts";
import { describeDecoder } from "../../src/model/architectures/registry.ts";
import { linearPlaces } from "../../src/model/graph/write-decoder.ts";
import type { DeltaSource } from "../../src/model/delta-source.ts";
import { nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { type Checkpoint, openCheckpoint } from "../../src/weights/checkpoint.ts";
import { type LoraAdapter, openLoraAdapter } from "../../src/weights/lora-adapter.ts";
import { memoryFileTree } from "../../src/weights/memory-files.ts";
import { encodeSafetensors } from "../../src/weights/safetensors.ts";
import { temporaryFolder, testModel } from "../support/models.ts";
import { gaussianSource } from "../support/pll-layer.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";

const GOLDEN = fileURLToPath(new URL("../fixtures/golden-hf", import.meta.url));
const RANK = 3;
const PROMPTS = [
  [5, 17, 3, 42, 8, 1],
  [9, 9, 9, 9, 9, 9],
  [60, 2, 33, 7, 21, 14],
];

const folder = temporaryFolder();
const models: CausalLm[] = [];
afterAll(async () => {
  await Promise.all(models.map((model) => model.dispose()));
  await stopProviders();
  folder.remove();
});

/** As PEFT writes it: both parameters of every layer's experts, the second one's wrapper around the first one's. */
async function expertAdapter(checkpoint: Checkpoint): Promise<LoraAdapter> {
  const gaussian = gaussianSource(7);
  const routed = linearPlaces(describeDecoder(checkpoint)).filter(({ isRouted }) => isRouted);
  const tensors = routed.flatMap(({ modules, inFeatures, outFeatures }) => {
    const [, path, parameter] = /^(.*)\.(\w+)\.0$/.exec(modules[0])!;
    const name = `base_model.model.${path}${parameter === "down_proj" ? "" : ".base_layer"}`;
    const rows = RANK * modules.length;
    const tensor = (side: string, shape: [number, number], size: number) => ({
      ...{ name: `${name}.lora_${side}.weight`, dtype: "F32" as const, shape },
      data: bytesOf(Float32Array.from({ length: shape[0] * shape[1] }, () => size * gaussian())),
    });
    return [tensor("A", [rows, inFeatures], inFeatures ** -0.5), tensor("B", [outFeatures[0], rows], 0.3)];
  });
  const config = {
    ...{ peft_type: "LORA", r: RANK, lora_alpha: 2 * RANK, bias: "none" },
    target_parameters: ["experts.gate_up_proj", "experts.down_proj"],
  };
  return await openLoraAdapter(
    memoryFileTree({
      "adapter_config.json": utf8(JSON.stringify(config)),
      "adapter_model.safetensors": encodeSafetensors(tensors),
    }),
  );
}

const open = async (name: string) => {
  const checkpoint = await openCheckpoint(nodeFileTree(join(GOLDEN, name)));
  return { checkpoint, adapter: await expertAdapter(checkpoint) };
};

async function load(checkpoint: Checkpoint, options: { adapter?: LoraAdapter; deltas?: DeltaSource }) {
  const model = await CausalLm.load(checkpoint, nodePlatform().tensors, { threads: 1, ...options });
  models.push(model);
  return model;
}

/** Logits after the prompt, and after one token more. */
async function logitsOf(model: CausalLm, prompt: readonly number[]): Promise<number[]> {
  const cache = model.newCache();
  return [...(await model.forward(prompt, cache)), ...(await model.forward([4], cache))];
}

const worst = (got: readonly number[], want: readonly number[]) =>
  want.reduce((most, value, i) => Math.max(most, Math.abs(value - got[i])), 0);

describe.each(["mixtral", "qwen2_moe", "gpt_oss", "granitemoe"])("%s", (name) => {
  it("gives the same inside the graph and asked for from outside", async () => {
    const { checkpoint, adapter } = await open(name);
    const inGraph = await load(checkpoint, { adapter });
    const base = await load(checkpoint, {});
    const asked = await load(checkpoint, { deltas: new LocalLora(await fitAdapter(adapter, checkpoint)) });
    for (const prompt of PROMPTS) {
      const want = await logitsOf(inGraph, prompt);
      expect(worst(await logitsOf(asked, prompt), want)).toBeLessThan(2e-4);
      expect(worst(await logitsOf(base, prompt), want)).toBeGreaterThan(0.05);
    }
  });

  it("asks the same of a source whichever experts are chosen", async () => {
    const { checkpoint, adapter } = await open(name);
    const local = new LocalLora(await fitAdapter(adapter, checkpoint));
    let asked: [group: number, rows: number][] = [];
    const chosen = new Set<string>();
    const noted: DeltaSource = {
      groups: local.groups,
      begin: () => expect.unreachable(),
      beginRouted(group, x, rows, routes) {
        asked.push([group, rows]);
        chosen.add(Array.from(routes.experts).join());
        return local.beginRouted(group, x, rows, routes);
      },
    };
    const model = await load(checkpoint, { deltas: noted });
    const all = [];
    for (const prompt of PROMPTS) {
      asked = [];
      await logitsOf(model, prompt);
      all.push(asked);
    }
    expect(chosen.size).toBeGreaterThan(2);
    expect(all[1]).toEqual(all[0]);
    expect(all[2]).toEqual(all[0]);
    const { rowsPerToken = 1 } = local.groups[1];
    expect(all[0].slice(0, 2)).toEqual([
      [0, 6],
      [1, 6 * rowsPerToken],
    ]);
  });
});

it("are answered by a provider, which is asked for as much whatever is chosen", async () => {
  const { checkpoint, adapter } = await open("mixtral");
  const inGraph = await load(checkpoint, { adapter });
  const base = await load(checkpoint, {});
  const state = join(folder.path, "experts");
  await testModel(checkpoint, adapter).writeState(state);
  const { url } = await startProvider(state);
  const joined = await openPrivateModel(nodePlatform(), { base: checkpoint, provider: url, threads: 1 });
  try {
    const spent: string[] = [];
    for (const prompt of PROMPTS) {
      const before = { ...joined.provider.traffic };
      // Token by token: how many parts a prompt is read in depends on how slow the line looks.
      const cache = joined.model.newCache();
      for (const id of prompt.slice(0, -1)) await joined.model.forward([id], cache);
      const last = [prompt[prompt.length - 1], 4];
      const got = [];
      for (const id of last) got.push(...(await joined.model.forward([id], cache)));
      const { vectors, bytesUp } = joined.provider.traffic;
      spent.push(`${vectors - before.vectors} vectors, ${bytesUp - before.bytesUp > 0}`);
      const want = await logitsOf(inGraph, prompt);
      expect(worst(got, want)).toBeLessThan(0.02 * worst(await logitsOf(base, prompt), want));
    }
    expect(new Set(spent).size).toBe(1);
  } finally {
    await joined.close();
  }
});

it("of another number of experts, or of some of them, are refused", async () => {
  const { checkpoint, adapter } = await open("mixtral");
  const changed = (change: Partial<{ experts: number; rank: number }>) => ({
    modules: new Map([...adapter.modules].map(([name, module]) => [name, { ...module, ...change }] as const)),
  });
  const { experts = 1, rank } = [...adapter.modules.values()][0];
  for (const change of [{ experts: experts / 2, rank: rank / 2 }, { experts: 2 * experts }])
    await expect(fitAdapter(changed(change), checkpoint)).rejects.toMatchObject({
      code: expect.stringMatching(/_adapter$/),
    });
});
