// What keys cost: bytes and time to make, to load, and what is left of a provider's core for answers beside them.
import { DEFAULT_PARAMETERS } from "../src/entry/pll.ts";
import {
  type BenchOptions,
  formatBytes,
  formatMs,
  formatTiming,
  markdownTable,
  measure,
  type Section,
  significant,
} from "./harness.ts";
import { makePllLayer } from "./pll-layer.ts";
import { normalSource } from "./random-layer.ts";

const WIDTHS = [896, 4096, 14_336];
const ROWS = 8;
/** Vectors of a message: a token, and a piece of a prompt. */
const BATCHES = [1, 64];

export async function run(options: BenchOptions): Promise<Section[]> {
  const runs = options.quick ? { minRuns: 3, minMs: 30 } : { minRuns: 20, minMs: 1000 };
  const { vectorsPerKey, uploadBits, keyLength } = DEFAULT_PARAMETERS;
  const keys: string[][] = [];
  const rates: string[][] = [];
  for (const n of options.quick ? WIDTHS.slice(0, 2) : WIDTHS) {
    const normal = normalSource(n);
    const layer = makePllLayer(Float64Array.from({ length: ROWS * n }, normal), ROWS, n, runs);
    keys.push([
      String(n),
      formatBytes(layer.keyBytes),
      formatBytes(layer.keyBytes / vectorsPerKey),
      formatTiming(layer.makeKey),
      formatTiming(layer.deriveSecret),
      formatTiming(layer.loadKey),
    ]);
    const share = (layer.makeKey.median + layer.deriveSecret.median) / vectorsPerKey;
    for (const vectors of BATCHES) {
      const { client, provider, masks, secret } = layer;
      const query = client.makeQuery(masks.make(vectors), new Float32Array(vectors * n).fill(1));
      const answer = measure("answer", () => provider.answerQuery(secret, query.bytes, vectors), runs);
      client.discard(query);
      const each = answer.median / vectors;
      rates.push([
        String(n),
        String(vectors),
        formatMs(each),
        formatMs(share),
        significant(1000 / each),
        significant(1000 / (each + share)),
        `${((100 * share) / (each + share)).toFixed(0)} %`,
      ]);
    }
  }
  const up = formatBytes((keyLength * uploadBits) / 8);
  return [
    {
      title: `A key of one group, r = ${ROWS}, ${vectorsPerKey} vectors`,
      body: markdownTable(["n", "bytes", "a vector", "make B and H", "derive S", "load (client)"], keys),
    },
    {
      title: `A provider's core: answers and the keys they need; ${up} up a vector at every n`,
      body: markdownTable(
        ["n", "T", "answer", "share of a key", "vectors/s, keys not counted", "vectors/s", "keys take"],
        rates,
      ),
    },
  ];
}
