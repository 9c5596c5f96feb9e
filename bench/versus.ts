// This version beside another one, in turns, in one run:
//
//   git clone . ../tacet-old && (cd ../tacet-old && git checkout d2f72ba && npm ci)
//   npm run bench -- versus --other=../tacet-old
//
// --only=core,tokens,load,shapes: some of it. --shape=NAME: of the shapes this one alone; --full: all of their layers.
// d2f72ba is the last commit whose private layer sent activations of the layer's width and had no keys. Whatever other
// commit is beside must have what is imported here under the same names, built; `tokens`, `load` and `shapes` run with
// version 0.1.0 (95124ce) too.
import { basename, resolve } from "node:path";
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
import { type Version, versionAt } from "./versions.ts";
import { compareLoad } from "./versus-load.ts";
import { compareShapes } from "./versus-shapes.ts";
import { compareTokens } from "./versus-tokens.ts";

const HERE = fileURLToPath(new URL("..", import.meta.url));
const WIDTHS = [4096, 14_336];
const ROWS = 8;
const BATCHES = [1, 64];
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
