// Measuring and printing, shared by every bench: medians with their spread, markdown tables, the machine line.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { fileURLToPath } from "node:url";

export interface BenchOptions {
  /** Fewer runs and smaller grids: a smoke test of the benches, not figures to quote. */
  readonly quick: boolean;
  /** Of large models all layers, not a few; over a network the large shape too. */
  readonly full?: boolean;
  /** The folders of the versions that this one is compared with, separated by commas. */
  readonly other?: string;
  /** Of large models this shape alone. */
  readonly shape?: string;
  /** Of networks this one alone. */
  readonly line?: string;
  /** Of what is done about a network these alone. */
  readonly modes?: readonly string[];
  /** Of a shape's adapters this one alone: "q,v" or "all". */
  readonly adapted?: string;
  /** Of engines, or of comparisons with another version, these alone. */
  readonly only?: readonly string[];
  /** How often each engine has its turn. */
  readonly rounds?: number;
  /** No long prompts. */
  readonly short?: boolean;
  /** Where the time goes, instead of how much. */
  readonly profile?: boolean;
  /** How large models hold their weights. */
  readonly weights?: "original" | "int8" | "int4";
}

/** One heading of a results file: its text is markdown. */
export interface Section {
  readonly title: string;
  readonly body: string;
}

/** Milliseconds per call of the measured function. */
export interface Timing {
  readonly name: string;
  readonly median: number;
  /** 10th and 90th percentile of the samples: what a neighbour on the machine does shows here. */
  readonly low: number;
  readonly high: number;
  /** Calls that were timed, warm-up excluded. */
  readonly runs: number;
}

export interface MeasureOptions {
  readonly minRuns?: number;
  readonly minMs?: number;
}

/** Shortest sample worth timing, ms: performance.now() resolves about a microsecond. */
const SAMPLE_MS = 0.2;
/** A slow function gets at least this many samples, a fast one stops here. */
const MAX_SAMPLES = 2000;
/** Rounds of staged measurements are not batched, so more of them are taken. */
const MAX_ROUNDS = 20_000;

/** Median of fn() in ms: warm-up for a fifth of the time, then samples until both minima are met. */
export function measure(name: string, fn: () => unknown, options: MeasureOptions = {}): Timing {
  const { minRuns = 15, minMs = 500 } = options;
  let calls = 0;
  const warmUpStart = performance.now();
  let warmUp = 0;
  do {
    fn();
    calls++;
    warmUp = performance.now() - warmUpStart;
  } while (calls < 2 || warmUp < minMs / 5);
  const batch = Math.max(1, Math.ceil((SAMPLE_MS * calls) / warmUp));

  const samples: number[] = [];
  const start = performance.now();
  while (samples.length < minRuns || (performance.now() - start < minMs && samples.length < MAX_SAMPLES)) {
    const before = performance.now();
    for (let i = 0; i < batch; i++) fn();
    samples.push((performance.now() - before) / batch);
  }
  return summarize(name, samples, batch);
}

/** A step that needs the step before it to have run: all are timed apart, in order, once a sample. */
export interface Stage {
  readonly name: string;
  readonly run: () => unknown;
}

/** Timings of the stages, then of their sum (per sample, so that its median is of whole rounds). */
export function measureStages(stages: readonly Stage[], options: MeasureOptions = {}): Timing[] {
  const { minRuns = 15, minMs = 500 } = options;
  const samples: number[][] = [...stages, null].map(() => []);
  const round = (record: boolean) => {
    let sum = 0;
    stages.forEach((stage, i) => {
      const before = performance.now();
      stage.run();
      const elapsed = performance.now() - before;
      sum += elapsed;
      if (record) samples[i].push(elapsed);
    });
    if (record) samples[stages.length].push(sum);
  };
  const warmUpStart = performance.now();
  do round(false);
  while (performance.now() - warmUpStart < minMs / 5);
  const start = performance.now();
  while (
    samples[0].length < minRuns ||
    (performance.now() - start < minMs && samples[0].length < MAX_ROUNDS)
  ) {
    round(true);
  }
  return samples.map((list, i) => summarize(stages[i]?.name ?? "sum", list, 1));
}

/** The same for an asynchronous fn, one call a sample. */
export async function measureAsync(
  name: string,
  fn: () => Promise<unknown>,
  options: MeasureOptions = {},
): Promise<Timing> {
  const { minRuns = 5, minMs = 500 } = options;
  await fn();
  const samples: number[] = [];
  const start = performance.now();
  while (samples.length < minRuns || (performance.now() - start < minMs && samples.length < MAX_SAMPLES)) {
    const before = performance.now();
    await fn();
    samples.push(performance.now() - before);
  }
  return summarize(name, samples, 1);
}

function summarize(name: string, samples: number[], batch: number): Timing {
  samples.sort((a, b) => a - b);
  const at = (fraction: number) => samples[Math.round(fraction * (samples.length - 1))];
  return { name, median: at(0.5), low: at(0.1), high: at(0.9), runs: samples.length * batch };
}

/** 12.3 ms, 0.0457 ms, 45.7 µs: three significant digits, µs below a tenth of a millisecond. */
export function formatMs(ms: number): string {
  if (ms < 0.1) return `${significant(ms * 1000)} µs`;
  return ms < 10_000 ? `${significant(ms)} ms` : `${significant(ms / 1000)} s`;
}

/** Median with its spread: 12.3 ms (11.9 … 14.0). */
export function formatTiming(t: Timing): string {
  const unit = t.median < 0.1 ? 1000 : t.median < 10_000 ? 1 : 1 / 1000;
  return `${formatMs(t.median)} (${significant(t.low * unit)} … ${significant(t.high * unit)})`;
}

export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${significant(bytes)} B`;
  return bytes < 1e6 ? `${significant(bytes / 1e3)} kB` : `${significant(bytes / 1e6)} MB`;
}

export function significant(value: number, digits = 3): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  return Number(value.toPrecision(digits)).toLocaleString("en-US", { maximumFractionDigits: 6 });
}

export function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...rows.map(line)].join("\n");
}

/** Who measured what, where: every results file starts with it. */
export function describeRun(): string {
  const cpu = cpus();
  return [
    `- machine: ${cpu[0]?.model.trim() ?? "unknown CPU"}, ${cpu.length} cores, ${(totalmem() / 2 ** 30).toFixed(1)} GiB memory`,
    `- node ${process.version}, V8 ${process.versions.v8}, ${process.platform} ${process.arch}`,
    `- commit ${gitCommit()}`,
    `- ${new Date().toISOString()}`,
    `- command: \`${commandLine()}\``,
  ].join("\n");
}

function gitCommit(): string {
  const git = (...args: string[]) =>
    execFileSync("git", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    const commit = git("rev-parse", "--short=12", "HEAD");
    return git("status", "--porcelain") === "" ? commit : `${commit} (dirty)`;
  } catch {
    return "unknown (no git)";
  }
}

function commandLine(): string {
  return `npm run bench -- ${process.argv.slice(2).join(" ")}`.trim();
}

/** Options of Node for another process of a bench: TypeScript, and modules of src as they were built. */
export const WITH_TYPESCRIPT: readonly string[] = [
  ...["--import", "tsx"],
  ...["--import", new URL("built-modules.mjs", import.meta.url).href],
];

const root = fileURLToPath(new URL("..", import.meta.url));

/** Writes bench/results/<name>.md (not committed) and returns its path. */
export function writeResults(name: string, markdown: string): string {
  const folder = fileURLToPath(new URL("results/", import.meta.url));
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}${name}.md`, markdown);
  return `bench/results/${name}.md`;
}

/** Of `samples`, what `part` of them are at most; NaN where there are none. */
export function quantile(samples: readonly number[], part: number): number {
  return samples.toSorted((a, b) => a - b)[Math.floor(part * (samples.length - 1))] ?? Number.NaN;
}
