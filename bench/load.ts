// A provider under load: queries a second and waiting times at 1, 16 and 64 clients, which are light processes that
// replay queries of a valid form over loopback; one token and a prompt of 64. Beside another version: versus-load.ts.
import { type ChildProcess, execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createBundle } from "../src/bundle/create-bundle.ts";
import { writeStateFolder } from "../src/library/node-state-folder.ts";
import { packedBytes } from "../src/ring/kernels.ts";
import { systemRandom } from "../src/ring/random-source.ts";
import { DEFAULT_PARAMETERS } from "../src/rlwe/parameters.ts";
import { type BenchOptions, markdownTable, quantile, type Section, WITH_TYPESCRIPT } from "./harness.ts";
import type { LoadOptions, LoadReport } from "./load-clients.ts";
import { startProvider } from "./provider-process.ts";
import { normalSource } from "./random-layer.ts";

const HERE = fileURLToPath(new URL("..", import.meta.url));
const CLIENTS_SCRIPT = fileURLToPath(new URL("load-clients.ts", import.meta.url));
const CLIENTS = [1, 16, 64];
/** The attention group of a model of 0.5 billion weights: q, k and v with one input. */
const IN_FEATURES = 896;
const OUT_FEATURES = { q: 896, k: 128, v: 128 };
const RANK = 8;
/** Vectors of a long query: a piece of a prompt. */
const LONG = 64;
const CLOCK_TICKS = 100;
const COMPARED =
  "Beside another version, in turns in one run: npm run bench -- versus --other=FOLDER --only=load, where FOLDER is a clone " +
  "of it in which npm ci has run. Figures of two runs are too far apart to be compared.";

export async function run(options: BenchOptions): Promise<Section[]> {
  const folder = mkdtempSync(join(tmpdir(), "tacet-load-"));
  const sections: Section[] = [];
  try {
    const state = join(folder, "state");
    const made = await createBundle(loadInput(), systemRandom);
    await writeStateFolder(state, made);
    const threads = availableParallelism() - 1;
    for (const [vectors, ...counts] of [[1, 0], threads > 0 ? [LONG, 0, threads] : [LONG, 0]]) {
      for (const count of counts) {
        const rows: string[][] = [];
        for (const clients of CLIENTS) rows.push(await measureLoad(state, vectors, count, clients, options));
        const body = markdownTable(
          [
            ...["clients", "queries/s", "per second of processor time", "clients' share of a core"],
            ...["p50, ms", "p99, ms"],
          ],
          rows,
        );
        const what = vectors === 1 ? "one vector" : `${vectors} vectors`;
        const where = count === 0 ? "main thread alone" : `${count} worker thread(s)`;
        sections.push({ title: `${what} a query, ${where}`, body });
      }
    }
    const beside = [];
    for (const count of threads > 0 ? [0, threads] : [0])
      beside.push(await measureBeside(state, count, options));
    const head = ["worker threads", "short queries/s", "p50, ms", "p99, ms", "long queries/s"];
    const title = `a client of one vector a query beside one of ${LONG}`;
    sections.push({ title, body: `${markdownTable(head, beside)}\n\n${COMPARED}` });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return sections;
}

export function loadInput() {
  const normal = normalSource(1);
  const matrix = (length: number) => Float32Array.from({ length }, () => 0.05 * normal());
  const modules = new Map(
    Object.entries(OUT_FEATURES).map(([name, outFeatures]) => [
      name,
      {
        rank: RANK,
        inFeatures: IN_FEATURES,
        outFeatures,
        a: matrix(RANK * IN_FEATURES),
        b: matrix(outFeatures * RANK),
        scale: 2,
      },
    ]),
  );
  const groups = [{ layer: 0, modules: [...modules.keys()], inFeatures: IN_FEATURES }];
  return { adapter: "load", baseFingerprint: new Uint8Array(32).fill(0x5a), groups, modules };
}

async function measureLoad(
  state: string,
  vectors: number,
  threads: number,
  clients: number,
  options: BenchOptions,
): Promise<string[]> {
  const { child, url } = await startProvider(state, ["--threads", String(threads)]);
  try {
    const load = loadOf(url, clients, vectors, options);
    const { latenciesMs, fromMs, toMs, cpuMs, cpuSeconds } = await runClients(load, child);
    const answers = latenciesMs.length;
    return [
      String(clients),
      ((1000 * answers) / (toMs - fromMs)).toFixed(0),
      (answers / cpuSeconds).toFixed(0),
      (cpuMs / (toMs - fromMs)).toFixed(2),
      formatQuantile(latenciesMs, 0.5),
      formatQuantile(latenciesMs, 0.99),
    ];
  } finally {
    child.kill("SIGKILL");
  }
}

/** What a client with short queries has to wait while another asks long ones. */
async function measureBeside(state: string, threads: number, options: BenchOptions): Promise<string[]> {
  const { child, url } = await startProvider(state, ["--threads", String(threads)]);
  try {
    const [short, long] = await Promise.all(
      [1, LONG].map((vectors) => runClients(loadOf(url, 1, vectors, options), child)),
    );
    const rate = ({ latenciesMs, fromMs, toMs }: LoadReport) =>
      ((1000 * latenciesMs.length) / (toMs - fromMs)).toFixed(0);
    const waits = [0.5, 0.99].map((part) => formatQuantile(short.latenciesMs, part));
    return [String(threads), rate(short), ...waits, rate(long)];
  } finally {
    child.kill("SIGKILL");
  }
}

export function loadOf(url: string, clients: number, vectors: number, { quick }: BenchOptions): LoadOptions {
  const queryBytes = packedBytes(DEFAULT_PARAMETERS.keyLength, DEFAULT_PARAMETERS.uploadBits);
  const times = quick ? { warmUpMs: 300, measureMs: 500 } : { warmUpMs: 1_000, measureMs: 5_000 };
  return { folder: HERE, url, clients, vectors, queryBytes, ...times };
}

export function formatQuantile(samples: readonly number[], part: number): string {
  return quantile(samples, part).toFixed(2);
}

/** The clients' report, and the provider's processor time while they were measured. */
export async function runClients(
  load: LoadOptions,
  { pid = 0 }: ChildProcess,
): Promise<LoadReport & { cpuSeconds: number }> {
  const ended = promisify(execFile)(
    process.execPath,
    [...WITH_TYPESCRIPT, CLIENTS_SCRIPT, JSON.stringify(load)],
    {
      maxBuffer: 256 << 20,
    },
  );
  // The clients' start takes part of the warm-up's time; the processor time is scaled to theirs by the clock.
  const samples: { at: number; cpu: number }[] = [];
  const timer = setInterval(() => samples.push({ at: Date.now(), cpu: cpuSecondsOf(pid) }), 20);
  const { stdout } = await ended;
  clearInterval(timer);
  const report = JSON.parse(stdout) as LoadReport;
  const during = samples.filter(({ at }) => at >= report.fromMs && at <= report.toMs);
  // Fewer where this process was stopped meanwhile.
  if (during.length < 2) return { ...report, cpuSeconds: Number.NaN };
  const [first, last] = [during[0], during[during.length - 1]];
  const part = (last.at - first.at) / (report.toMs - report.fromMs);
  return { ...report, cpuSeconds: (last.cpu - first.cpu) / part };
}

/** User and system time of a process, its threads included; NaN where the system has no /proc. */
function cpuSecondsOf(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
    return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS;
  } catch {
    return Number.NaN;
  }
}
