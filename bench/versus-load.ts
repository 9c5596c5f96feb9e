// A provider under load (load.ts) of this version and of another one, in turns: the same clients, the same machine, the
// same run. Of the other version only its provider, its frames and its makers of bundles are used, so version 0.1.0 can
// stand beside this one.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BenchOptions, markdownTable, type Section } from "./harness.ts";
import { formatQuantile, loadInput, loadOf, runClients } from "./load.ts";
import { startProvider, type Version } from "./versions.ts";

const CLIENTS = [1, 64];
const TURNS = 3;
/** Short turns, and so several of them within what a shared machine leaves alone. */
const TIMES = { warmUpMs: 1_000, measureMs: 2_000 };
/** Names that all versions give the files of a state folder. */
const BUNDLE_FILE = "bundle.safetensors";
const PRIVATE_FILE = "private.safetensors";

interface Measured {
  readonly rate: number;
  /** Seconds of processor time in a second. */
  readonly provider: number;
  readonly clients: number;
  readonly p99: string;
}

/** One vector a query, the provider's main thread alone. */
export async function compareLoad(versions: readonly Version[], options: BenchOptions): Promise<Section> {
  const folder = mkdtempSync(join(tmpdir(), "tacet-versus-load-"));
  try {
    const sides = [];
    for (const version of versions) sides.push(await prepare(version, join(folder, version.name)));
    const rows: string[][] = [];
    for (const clients of CLIENTS) {
      const all: Measured[][] = sides.map(() => []);
      for (let turn = 0; turn < (options.quick ? 1 : TURNS); turn++) {
        for (const [i, side] of sides.entries()) all[i].push(await measureOnce(side, clients, options));
      }
      for (const [i, { version }] of sides.entries()) {
        const sorted = all[i].toSorted((a, b) => a.rate - b.rate);
        const middle = sorted[sorted.length >> 1];
        rows.push([
          ...[String(clients), version.name, middle.rate.toFixed(0)],
          `${sorted[0].rate.toFixed(0)} to ${sorted[sorted.length - 1].rate.toFixed(0)}`,
          ((1e6 * middle.provider) / middle.rate).toFixed(1),
          ...[middle.provider.toFixed(2), middle.clients.toFixed(2), middle.p99],
        ]);
      }
    }
    const head = [
      ...["clients", "version", "queries/s", "from, to", "provider's processor time a query, µs"],
      ...["provider's share of a core", "clients'", "p99, ms"],
    ];
    return {
      title: "A provider under load, one vector a query, main thread alone",
      body: markdownTable(head, rows),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Side {
  readonly version: Version;
  readonly state: string;
  readonly queryBytes: number;
}

async function prepare(version: Version, state: string): Promise<Side> {
  const { load } = version;
  const { createBundle } = await load("bundle/create-bundle.js");
  const { DEFAULT_PARAMETERS } = await load("rlwe/parameters.js");
  const { nodeFileTree } = await load("platform/node.js");
  const { loadServedAdapter } = await load("provider/served-adapter.js");
  // What the form without keys wants to know.
  const output = DEFAULT_PARAMETERS.keyLength === undefined ? { output: "public-basis" } : {};
  const random = (bytes: Uint8Array) => void crypto.getRandomValues(bytes);
  const made = await createBundle({ ...loadInput(), ...output }, random);
  mkdirSync(state);
  writeFileSync(join(state, BUNDLE_FILE), made.bundle);
  writeFileSync(join(state, PRIVATE_FILE), made.privateState, { mode: 0o600 });
  const { layers } = await loadServedAdapter(nodeFileTree(state));
  return { version, state, queryBytes: layers[0].queryBytes };
}

async function measureOnce(
  { version, state, queryBytes }: Side,
  clients: number,
  options: BenchOptions,
): Promise<Measured> {
  const { child, url } = await startProvider(version.folder, state, ["--threads", "0"]);
  try {
    const load = { ...loadOf(url, clients, 1, options), ...TIMES, folder: version.folder, queryBytes };
    const { latenciesMs, fromMs, toMs, cpuMs, cpuSeconds } = await runClients(load, child);
    const seconds = (toMs - fromMs) / 1000;
    return {
      rate: latenciesMs.length / seconds,
      provider: cpuSeconds / seconds,
      clients: cpuMs / 1000 / seconds,
      p99: formatQuantile(latenciesMs, 0.99),
    };
  } finally {
    child.kill("SIGKILL");
  }
}
