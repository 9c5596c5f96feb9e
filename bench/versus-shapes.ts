// Seeded models of published shapes, their first layers (--full: all), with this version and others: decode steps and a prompt of the
// base model alone and of the private model, in turns. Only what the package exports is used of a version, and its
// command line, so that version 0.1.0 (95124ce) can stand beside this one.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BenchOptions, markdownTable, type Section } from "./harness.ts";
import { benchCache, CASES, type LargeCase, seededFolders } from "./seeded-model.ts";
import { exportsOf, type Modules, serveAdapter, type Version } from "./versions.ts";

/** The engines' shapes, and Llama's smallest one. */
const SHAPES: readonly LargeCase[] = [
  { shape: "llama-3.2-1b", modules: ["q_proj", "k_proj", "v_proj", "o_proj"], rank: 8, smallLayers: 2 },
  ...CASES,
];
const PROMPT_TOKENS = 128;
const STEPS = 96;
const TURNS = 6;

/** Milliseconds. */
interface Times {
  readonly step: number[];
  readonly prompt: number[];
}

interface Side {
  readonly name: string;
  readonly base: Modules;
  readonly hidden: Modules;
  readonly ready: () => Promise<unknown>;
  readonly times: { readonly base: Times; readonly hidden: Times };
  close(): Promise<void>;
}

export async function compareShapes(
  versions: readonly Version[],
  { quick, full, shape, weights = "int4" }: BenchOptions,
): Promise<Section> {
  const rows: string[][] = [];
  for (const each of SHAPES.filter((one) => shape === undefined || one.shape === shape)) {
    const layers = full ? undefined : each.smallLayers;
    const { base, adapter } = seededFolders(each, layers);
    const sides: Side[] = [];
    try {
      for (const version of versions) sides.push(await open(version, base, adapter, weights));
      const vocab = JSON.parse(readFileSync(join(base, "config.json"), "utf8"));
      const size: number = vocab.vocab_size ?? vocab.padded_vocab_size;
      for (let turn = 0; turn <= (quick ? 1 : TURNS); turn++) {
        // Who comes first has had the longer pause.
        const order = turn % 2 === 0 ? sides : sides.toReversed();
        for (const side of order) await runTurn(side, size, turn > 0);
      }
      for (const { name, times } of sides) {
        const all = [times.base.step, times.hidden.step, times.base.prompt, times.hidden.prompt];
        rows.push([`${each.shape}, ${layers ?? "all"} layers`, name, ...all.map(spread)]);
      }
    } finally {
      for (const side of sides) await side.close();
    }
  }
  const head = ["shape", "version", "a token, base alone, ms", "private"];
  const prompts = [`a prompt of ${PROMPT_TOKENS}, base alone, ms`, "private"];
  return { title: `Published shapes, ${weights}`, body: markdownTable([...head, ...prompts], rows) };
}

async function open(
  { name, folder }: Version,
  base: string,
  adapter: string,
  weights: string,
): Promise<Side> {
  const entry = exportsOf(folder);
  const { CausalLm, openCheckpoint } = await entry("./model");
  const { nodeFileCache, nodeFileTree, nodePlatform } = await entry("./platform/node");
  const { openPrivateModel, connect } = await entry("./client");
  const state = mkdtempSync(join(tmpdir(), "tacet-versus-shapes-"));
  const { child, url } = await serveAdapter(folder, { base, adapter, state: join(state, "state") });
  const platform = nodePlatform();
  const weightCache = nodeFileCache(join(benchCache(), `versus-${name}`));
  const checkpoint = await openCheckpoint(nodeFileTree(base));
  const alone = await CausalLm.load(checkpoint, platform.tensors, { weights, weightCache });
  // As 0.1.0 called it.
  const joined = await (openPrivateModel ?? connect)(platform, {
    base: checkpoint,
    provider: url,
    weights,
    weightCache,
  });
  const times = (): Times => ({ step: [], prompt: [] });
  return {
    name,
    base: alone,
    hidden: joined.model,
    ready: async () => await joined.adapter.ready?.(),
    times: { base: times(), hidden: times() },
    async close() {
      await joined.close();
      await alone.dispose();
      child.kill();
      rmSync(state, { recursive: true, force: true });
    },
  };
}

async function runTurn({ base, hidden, ready, times }: Side, vocab: number, record: boolean): Promise<void> {
  for (const [model, own] of [
    [base, times.base],
    [hidden, times.hidden],
  ] as const) {
    await ready();
    const ids = (count: number) => Array.from({ length: count }, (_, i) => 5 + ((i * 7919) % (vocab - 5)));
    const cache = model.newCache();
    const start = performance.now();
    await model.forward(ids(PROMPT_TOKENS), cache);
    if (record) own.prompt.push(performance.now() - start);
    for (const id of ids(STEPS)) {
      const before = performance.now();
      await model.forward([id], cache);
      if (record) own.step.push(performance.now() - before);
    }
    cache.dispose();
  }
}

/** Median, and between which values the middle four fifths lie. */
function spread(samples: readonly number[]): string {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (part: number): string => sorted[Math.round(part * (sorted.length - 1))].toPrecision(3);
  return `${at(0.5)} (${at(0.1)} … ${at(0.9)})`;
}
