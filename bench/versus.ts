// This version beside another one, in turns, in one run:
//
//   git clone . ../tacet-old && (cd ../tacet-old && git checkout d2f72ba && npm ci)
//   npm run bench -- versus --other=../tacet-old
//
// --only=core,tokens,load,shapes: some of it. --shape=NAME: of the shapes this one alone; --full: all of their layers.
// d2f72ba is the last commit whose private layer sent activations of the layer's width and had no keys. Whatever other
// commit is beside must have what is imported here under the same names, built; `load` and `shapes` run with version
// 0.1.0 (95124ce) too.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type BenchOptions,
  formatMs,
  formatTiming,
  markdownTable,
  measure,
  type Section,
  significant,
  type Timing,
} from "./harness.ts";
import { normalSource } from "./random-layer.ts";
import { type Modules, startProvider, type Version, versionAt } from "./versions.ts";
import { compareLoad } from "./versus-load.ts";
import { compareShapes } from "./versus-shapes.ts";

const HERE = fileURLToPath(new URL("..", import.meta.url));
const WIDTHS = [4096, 14_336];
const ROWS = 8;
const BATCHES = [1, 64];
const LONG_PROMPT = 64;
const TURNS = 3;

export async function run(options: BenchOptions): Promise<Section[]> {
  if (options.other === undefined) {
    throw new Error("say which version: --other=FOLDER[,FOLDER…], of a clone in which npm ci has run");
  }
  const others = options.other.split(",").map((folder) => versionAt(basename(folder), resolve(folder)));
  const versions = [...others, versionAt("this", HERE)];
  const wanted = options.only ?? Object.keys(COMPARISONS);
  const sections: Section[] = [];
  for (const [name, compare] of Object.entries(COMPARISONS)) {
    if (wanted.includes(name)) sections.push(...(await compare(versions, options)));
  }
  if (sections.length === 0)
    throw new Error(`say --only=${Object.keys(COMPARISONS).join(",")}, or some of these`);
  return sections;
}

/** By the name that --only has for it. */
const COMPARISONS: Record<
  string,
  (versions: readonly Version[], options: BenchOptions) => Promise<readonly Section[]>
> = {
  core: async (versions, options) => [await compareProviders(versions, options)],
  tokens: async (versions, options) => [await compareTokens(versions, options)],
  load: async (versions, options) => [await compareLoad(versions, options)],
  shapes: async (versions, options) => [await compareShapes(versions, options)],
};

/** What a provider does: answers, and the share of a key that each vector has. */
interface ProviderSide {
  readonly name: string;
  readonly answer: (vectors: number) => void;
  /** Makes what 1 / `served` of a vector needs; undefined where there are no keys. */
  readonly key: { readonly make: () => void; readonly served: number } | undefined;
}

async function compareProviders(versions: readonly Version[], { quick }: BenchOptions): Promise<Section> {
  const runs = quick ? { minRuns: 3, minMs: 20 } : { minRuns: 20, minMs: 700 };
  const rows: string[][] = [];
  for (const n of WIDTHS) {
    const sides: ProviderSide[] = [];
    for (const version of versions) sides.push(await providerSide(version, n));
    for (const vectors of BATCHES) {
      const answers = inTurns(sides, ({ answer }) => measure("answer", () => answer(vectors), runs));
      const keys = inTurns(sides, ({ key }) => (key ? measure("key", key.make, runs) : undefined));
      for (const [i, { name, key }] of sides.entries()) {
        const [answer, made] = [answers[i], keys[i]];
        const share = key && made ? made.median / key.served : 0;
        const each = (answer?.median ?? Number.NaN) / vectors;
        rows.push([
          String(n),
          String(vectors),
          name,
          formatMs(each),
          made ? formatTiming(made) : "none",
          formatMs(share),
          significant(1000 / (each + share)),
        ]);
      }
    }
  }
  const head = [
    "n",
    "T",
    "version",
    "answer, a vector",
    "make a key",
    "its share",
    "vectors/s, keys included",
  ];
  return { title: `A provider's core, r = ${ROWS}`, body: markdownTable(head, rows) };
}

/** Each side's middle one of some measurements that were made in turns. */
function inTurns<Side, T extends Timing | undefined>(sides: readonly Side[], time: (side: Side) => T): T[] {
  const all = Array.from({ length: TURNS }, () => sides.map(time));
  return sides.map(
    (_, i) => all.map((turn) => turn[i]).toSorted((a, b) => (a?.median ?? 0) - (b?.median ?? 0))[TURNS >> 1],
  );
}

async function providerSide({ name, load }: Version, n: number): Promise<ProviderSide> {
  const pll = await load("entry/pll.js");
  const {
    BufferPool,
    DEFAULT_PARAMETERS: parameters,
    Kernels,
    ProviderLayer,
    quantizeRows,
    systemRandom,
  } = pll;
  const real = Float64Array.from({ length: ROWS * n }, normalSource(n));
  const kernels = Kernels.load();
  const pool = new BufferPool(kernels);
  const bundleId = new Uint8Array(16);
  systemRandom(bundleId);
  const shape = { parameters, rows: ROWS, inFeatures: n };
  if (pll.setup === undefined) {
    const { integers: weights } = quantizeRows(real, ROWS, n, parameters.rowNorm, [ROWS]);
    const elements = new pll.PublicElements(kernels, pool, bundleId);
    const layer = new ProviderLayer(kernels, pool, elements, { ...shape, weights });
    const seed = new Uint8Array(32);
    systemRandom(seed);
    const secret = layer.deriveSecret(seed);
    const make = () => {
      layer.encryptWeights(seed);
      layer.releaseSecret(layer.deriveSecret(seed));
    };
    const query = (vectors: number) => new Uint8Array(vectors * layer.queryBytes).fill(85);
    return {
      name,
      answer: (vectors) => layer.answerQuery(secret, query(vectors), vectors),
      key: { make, served: parameters.vectorsPerKey },
    };
  }
  // The form without keys.
  const { layoutOf, weightBits } = await load("rlwe/parameters.js");
  const { integers: weights } = quantizeRows(real, ROWS, n, weightBits(parameters, n), [ROWS]);
  const elements = pll.expandLayout(kernels, pool, layoutOf(parameters, n), bundleId, 0);
  const { padding } = pll.setup(
    kernels,
    pool,
    { ...shape, elements, weights, context: [bundleId] },
    systemRandom,
  );
  const layer = new ProviderLayer(kernels, pool, { ...shape, weights, padding });
  const query = (vectors: number) => new Uint8Array(vectors * layer.queryBytes).fill(85);
  return { name, answer: (vectors) => layer.answerQuery(query(vectors), vectors), key: undefined };
}

interface TokenSide {
  readonly name: string;
  /** The private model, and plaintext LoRA in the same engine. */
  readonly models: readonly [Modules, Modules];
  /** By model. */
  readonly steps: readonly [number[], number[]];
  readonly prompts: readonly [number[], number[]];
  ready(): Promise<void>;
  close(): Promise<void>;
}

/** What is said, and answered. */
interface Entry {
  readonly prompt: readonly number[];
  readonly answer: readonly number[];
}

const LEXICON = join(HERE, "models/lexicon");

/** What the embedded model is asked. */
function lexiconEntries(quick: boolean): readonly Entry[] {
  const { entries } = JSON.parse(readFileSync(join(LEXICON, "expected.json"), "utf8")) as {
    entries: { prompt_ids: number[]; adapter: { ids: number[] } }[];
  };
  return (quick ? entries.slice(0, 2) : entries).map(({ prompt_ids, adapter }) => ({
    prompt: prompt_ids,
    answer: adapter.ids,
  }));
}

/** Decode steps of the same answers, and a prompt, of both versions in turns, each against plaintext LoRA. */
async function compareTokens(versions: readonly Version[], { quick }: BenchOptions): Promise<Section> {
  const entries = lexiconEntries(quick);
  const sides: TokenSide[] = [];
  try {
    for (const version of versions) sides.push(await tokenSide(version));
    for (const [turn, entry] of [entries[0], ...entries, ...entries].entries()) {
      for (const side of sides) {
        for (const which of [0, 1] as const) {
          await side.ready();
          await runAnswer(side, which, entry, turn > 0);
        }
      }
    }
    const rows = sides.map(({ name, steps: [hidden, plain], prompts }) => [
      name,
      String(hidden.length),
      median(plain).toFixed(2),
      median(hidden).toFixed(2),
      `${(median(hidden) / median(plain)).toFixed(2)}×`,
      (hidden.reduce((sum, ms) => sum + ms, 0) / hidden.length).toFixed(2),
      ...[prompts[1], prompts[0]].map((list) => median(list).toFixed(1)),
    ]);
    const head = [
      ...["version", "steps", "plaintext LoRA, ms a token", "private", "ratio", "private, mean"],
      ...[`prompt of ${LONG_PROMPT}, plaintext`, "private"],
    ];
    return { title: "The embedded model on loopback", body: markdownTable(head, rows) };
  } finally {
    for (const side of sides) await side.close();
  }
}

async function tokenSide({ name, folder, load }: Version): Promise<TokenSide> {
  const { nodeFileTree, nodePlatform } = await load("platform/node.js");
  const { openCheckpoint } = await load("weights/checkpoint.js");
  const { openLoraAdapter } = await load("weights/lora-adapter.js");
  const { fitAdapter } = await load("model/adapter/fit-adapter.js");
  const { LocalLora } = await load("model/adapter/local-lora.js");
  const { CausalLm } = await load("model/causal-lm.js");
  const { openPrivateModel } = await load("entry/client.js");
  const { fingerprintCheckpoint } = await load("weights/fingerprint.js");
  const { createBundle } = await load("bundle/create-bundle.js");
  const { writeStateFolder } = await load("library/node-state-folder.js");
  const { systemRandom } = await load("ring/random-source.js");
  const platform = nodePlatform();
  const base = await openCheckpoint(nodeFileTree(join(LEXICON, "base")));
  const adapter = await openLoraAdapter(nodeFileTree(join(LEXICON, "law-adapter")));
  // Older versions gave the groups alone.
  const fitted = await fitAdapter(adapter, base);
  const isOld = Array.isArray(fitted);
  const baseFingerprint = await fingerprintCheckpoint(base);
  const state = mkdtempSync(join(tmpdir(), "tacet-versus-"));
  // Which the form without keys wants to know.
  const output = (await load("entry/pll.js")).setup ? { output: "public-basis" } : {};
  const parts = isOld ? { groups: fitted, modules: adapter.modules } : fitted;
  const input = { adapter: "law", baseFingerprint, ...parts, ...output };
  await writeStateFolder(join(state, "state"), await createBundle(input, systemRandom));
  const { child, url } = await startProvider(folder, join(state, "state"));
  const joined = await openPrivateModel(platform, { base, provider: url });
  const deltas = isOld ? new LocalLora(adapter, fitted) : new LocalLora(fitted);
  const plain = await CausalLm.load(base, platform.tensors, { deltas });
  return {
    name,
    models: [joined.model, plain],
    steps: [[], []],
    prompts: [[], []],
    ready: () => joined.adapter.ready(),
    async close() {
      await joined.close();
      child.kill();
      rmSync(state, { recursive: true, force: true });
    },
  };
}

async function runAnswer(
  { models, steps, prompts }: TokenSide,
  which: 0 | 1,
  { prompt: said, answer }: Entry,
  record: boolean,
): Promise<void> {
  const model = models[which];
  const forward = async (ids: readonly number[], cache: unknown, times: number[]) => {
    const start = performance.now();
    await model.forward(ids, cache);
    if (record) times.push(performance.now() - start);
  };
  const cache = model.newCache();
  await model.forward(said, cache);
  for (const id of answer.slice(0, -1)) await forward([id], cache, steps[which]);
  cache.dispose();
  const long = model.newCache();
  const prompt = Array.from({ length: LONG_PROMPT }, (_, i) => said[i % said.length]);
  await forward(prompt, long, prompts[which]);
  long.dispose();
}

function median(samples: readonly number[]): number {
  return samples.toSorted((a, b) => a - b)[samples.length >> 1];
}
