// A decode step of each family's tiny example beside Llama's, in turns, in one run: what a family's operators cost besides
// their products. The examples of test/fixtures/golden-hf, and those of ../shared/golden-hf where they are.
// npm run bench -- families [--only=mixtral,gemma2] [--weights=int4]
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import onnxProto from "onnx-proto";
import type { OnnxModel, TensorRuntime } from "../src/base/platform.ts";
import { CausalLm } from "../src/model/causal-lm.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../src/platform/node.ts";
import { openCheckpoint } from "../src/weights/checkpoint.ts";
import { goldenHfFolder, goldenHfNames } from "../test/support/golden-hf.ts";
import { type BenchOptions, markdownTable, type Section } from "./harness.ts";

const PROMPT = [5, 9, 12, 7, 30];
/** What all others are compared with: plain Llama; of those in the repository yarn is nothing but other tables. */
const REFERENCES = { shared: "shared/llama", tiny: "tiny/llama-yarn" };

interface Family {
  readonly name: string;
  readonly model: CausalLm;
  /** Operators that run with each pass. */
  readonly operators: number;
  readonly layers: number;
  /** Milliseconds of a step, one entry a turn. */
  readonly steps: number[];
}

export async function run({ quick, only, weights }: BenchOptions): Promise<Section[]> {
  const [turns, tokens] = quick ? [3, 10] : [40, 40];
  const folder = mkdtempSync(join(tmpdir(), "tacet-families-"));
  const references = Object.values(REFERENCES);
  const wanted = goldenHfNames().filter(
    (name) => !only || references.includes(name) || only.includes(name.split("/")[1]),
  );
  const families: Family[] = [];
  try {
    for (const name of wanted) families.push(await load(name, folder, weights));
    for (let turn = 0; turn < turns; turn++) {
      for (const family of families) await measureTurn(family, tokens);
    }
    const sections = Object.entries(REFERENCES).map(([kind, reference]): Section | undefined => {
      const own = families.filter(({ name }) => name.startsWith(`${kind}/`));
      const base = own.find(({ name }) => name === reference);
      if (!base) return undefined;
      const rows = own
        .toSorted((a, b) => median(b.steps) - median(a.steps))
        .map(({ name, layers, operators, steps }) => [
          name.split("/")[1],
          String(layers),
          String(operators),
          (1000 * median(steps)).toFixed(0),
          (1000 * Math.min(...steps)).toFixed(0),
          (median(steps) / median(base.steps)).toFixed(2),
        ]);
      const head = ["example", "layers", "operators", "µs a token", "least", "times Llama"];
      return { title: `Decode steps, ${kind} (Llama: ${reference})`, body: markdownTable(head, rows) };
    });
    return sections.filter((section) => section !== undefined);
  } finally {
    for (const { model } of families) await model.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function load(name: string, folder: string, weights: BenchOptions["weights"]): Promise<Family> {
  const { tensors } = nodePlatform();
  let operators = 0;
  const counting: TensorRuntime = {
    ...tensors,
    createSession(model, options) {
      operators += operatorsOf(model);
      return tensors.createSession(model, options);
    },
  };
  const checkpoint = await openCheckpoint(nodeFileTree(goldenHfFolder(name)));
  const options = weights ? { weights, weightCache: nodeFileCache(folder) } : {};
  const model = await CausalLm.load(checkpoint, counting, options);
  return { name, model, operators, layers: model.config.layers, steps: [] };
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
