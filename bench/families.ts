// A decode step of each family's tiny example beside Llama's, in turns, in one run: what a family's operators cost besides
// their products. The examples of test/fixtures/golden-hf, and those of ../shared/golden-hf where they are.
// npm run bench -- families [--only=mixtral,gemma2] [--weights=int4]
//
// Beside another version, which runs those that it knows, each model alone and with its adapter, inside the graph and cut
// where it adds:
// npm run bench -- families --other=../tacet-old [--modes=alone,inside,cut]
// where ../tacet-old is a clone that is built, as bench/versus.ts says; version 0.1.0 (95124ce) can be one.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import onnxProto from "onnx-proto";
import type { OnnxModel, TensorRuntime } from "../src/base/platform.ts";
import { fitAdapter, LocalLora } from "../src/entry/model.ts";
import { CausalLm } from "../src/model/causal-lm.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../src/platform/node.ts";
import { openCheckpoint } from "../src/weights/checkpoint.ts";
import { openLoraAdapter } from "../src/weights/lora-adapter.ts";
import { goldenHfFolder, goldenHfNames } from "../test/support/golden-hf.ts";
import { type BenchOptions, markdownTable, type Section } from "./harness.ts";
import { exportsOf, type Modules, versionAt } from "./versions.ts";

const PROMPT = [5, 9, 12, 7, 30];
/** What all others are compared with: plain Llama; of those in the repository yarn is nothing but other tables. */
const REFERENCES = { shared: "shared/llama", tiny: "tiny/llama-yarn" };
/** How a model runs: by itself, with its adapter inside the graph, and cut where the adapter adds. */
const WAYS = {
  alone: "alone",
  inside: "adapter inside the graph",
  cut: "cut at the adapted layers",
} as const;

type Way = keyof typeof WAYS;

interface Family {
  readonly name: string;
  readonly way: Way;
  /** Of another version its folder's name. */
  readonly version: string | undefined;
  readonly model: Modules;
  /** Operators that run with each pass; unknown of another version. */
  readonly operators: number | undefined;
  /** Groups of modules that the adapter adds to. */
  readonly groups: number;
  /** Milliseconds of a step, one entry a turn. */
  readonly steps: number[];
}

export async function run({ quick, only, weights, other, modes }: BenchOptions): Promise<Section[]> {
  const [turns, tokens] = quick ? [3, 10] : [40, 40];
  const folder = mkdtempSync(join(tmpdir(), "tacet-families-"));
  const references = Object.values(REFERENCES);
  const wanted = goldenHfNames().filter(
    (name) => !only || references.includes(name) || only.includes(name.split("/")[1]),
  );
  const asked = modes ?? (other === undefined ? ["alone"] : Object.keys(WAYS));
  const ways = (Object.keys(WAYS) as Way[]).filter((way) => asked.includes(way));
  const families: Family[] = [];
  try {
    for (const way of ways) {
      for (const name of wanted) {
        if (other !== undefined) families.push(...(await loadOther(resolve(other), name, way)));
        families.push(await load(name, way, folder, weights));
      }
    }
    for (let turn = 0; turn < turns; turn++) {
      // Who comes first has had the longer pause.
      const order = turn % 2 === 0 ? families : families.toReversed();
      for (const family of order) await measureTurn(family, tokens);
    }
    return ways.flatMap((way) =>
      Object.entries(REFERENCES).flatMap(([kind, reference]) => compare(families, way, kind, reference)),
    );
  } finally {
    for (const { model } of families) await model.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

function compare(families: readonly Family[], way: Way, kind: string, reference: string): Section[] {
  const own = families.filter((family) => family.way === way && family.name.startsWith(`${kind}/`));
  const llama = own.find(({ name, version }) => name === reference && version === undefined);
  if (!llama) return [];
  const others = own.filter(({ name, version }) => name === reference && version !== undefined);
  const rows = own
    .toSorted((a, b) => median(b.steps) - median(a.steps))
    .map(({ name, version, groups, operators, steps }) => [
      version === undefined ? name.split("/")[1] : `${name.split("/")[1]}, ${version}`,
      String(groups),
      String(operators ?? ""),
      (1000 * median(steps)).toFixed(0),
      (1000 * Math.min(...steps)).toFixed(0),
      ...[llama, ...others].map((base) => (median(steps) / median(base.steps)).toFixed(2)),
    ]);
  const head = [
    ...["example", "adapted groups", "operators", "µs a token", "least", "times Llama"],
    ...others.map(({ version }) => `times ${version}'s`),
  ];
  return [
    { title: `Decode steps, ${kind}, ${WAYS[way]} (Llama: ${reference})`, body: markdownTable(head, rows) },
  ];
}

async function load(
  name: string,
  way: Way,
  folder: string,
  weights: BenchOptions["weights"],
): Promise<Family> {
  const { tensors } = nodePlatform();
  let operators = 0;
  const counting: TensorRuntime = {
    ...tensors,
    createSession(model, options) {
      operators += operatorsOf(model);
      return tensors.createSession(model, options);
    },
  };
  const files = nodeFileTree(goldenHfFolder(name));
  const checkpoint = await openCheckpoint(files);
  const held = weights ? { weights, weightCache: nodeFileCache(folder) } : {};
  const adapter = await openLoraAdapter(nodeFileTree(join(goldenHfFolder(name), "adapter")));
  const fitted = await fitAdapter(adapter, checkpoint);
  const use = {
    alone: {},
    inside: { adapter },
    cut: { deltas: new LocalLora(fitted) },
  }[way];
  const model = await CausalLm.load(checkpoint, counting, { ...held, ...use });
  const groups = way === "alone" ? 0 : fitted.groups.length;
  return { name, way, version: undefined, model, operators, groups, steps: [] };
}

/** A model as another version runs it, through what its package exports alone; none where it refuses it. */
async function loadOther(folder: string, name: string, way: Way): Promise<Family[]> {
  const version = versionAt(basename(folder), folder);
  const entry = exportsOf(version.folder);
  const library = await entry("./model");
  const { nodeFileTree: files, nodePlatform: platform } = await entry("./platform/node");
  try {
    const checkpoint = await library.openCheckpoint(files(goldenHfFolder(name)));
    const adapter = await library.openLoraAdapter(files(join(goldenHfFolder(name), "adapter")));
    const fitted = await library.fitAdapter(adapter, checkpoint);
    // 0.1.0 gave the groups alone.
    const isOld = Array.isArray(fitted);
    const deltas = isOld ? new library.LocalLora(adapter, fitted) : new library.LocalLora(fitted);
    const use = { alone: {}, inside: { adapter }, cut: { deltas } };
    const model = await library.CausalLm.load(checkpoint, platform().tensors, use[way]);
    const groups = way === "alone" ? 0 : (isOld ? fitted : fitted.groups).length;
    return [{ name, way, version: version.name, model, operators: undefined, groups, steps: [] }];
  } catch (error) {
    if ((error as { code?: unknown }).code === "unsupported_model") return [];
    throw error;
  }
}

/** Nodes but for those that compute with constants alone, which the runtime does at load. */
function operatorsOf({ bytes }: OnnxModel): number {
  const { graph } = onnxProto.onnx.ModelProto.decode(bytes);
  const constants = new Set(graph!.initializer!.map(({ name }) => name!));
  constants.add("");
  let count = 0;
  for (const { input, output } of graph!.node!) {
    if (input!.every((name) => constants.has(name))) for (const name of output!) constants.add(name);
    else count++;
  }
  return count;
}

async function measureTurn({ model, steps }: Family, tokens: number): Promise<void> {
  const cache = model.newCache();
  await model.forward(PROMPT, cache);
  const start = performance.now();
  for (let i = 0; i < tokens; i++) await model.forward([3 + ((i * 7) % 50)], cache);
  steps.push((performance.now() - start) / tokens);
  cache.dispose();
}

function median(samples: readonly number[]): number {
  return samples.toSorted((a, b) => a - b)[samples.length >> 1];
}
