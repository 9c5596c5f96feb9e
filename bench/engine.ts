// What a user would run instead, llama.cpp, beside our engine in plaintext and private, for published models' shapes with
// seeded weights. All are loaded, each in a separate process, and take turns, so that a neighbour on the machine hits all
// alike.
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createBundle } from "../src/bundle/create-bundle.ts";
import { writeStateFolder } from "../src/library/node-state-folder.ts";
import { fitAdapter } from "../src/model/adapter/fit-adapter.ts";
import { nodeFileTree } from "../src/platform/node.ts";
import { systemRandom } from "../src/ring/random-source.ts";
import { openCheckpoint } from "../src/weights/checkpoint.ts";
import { fingerprintCheckpoint } from "../src/weights/fingerprint.ts";
import { openLoraAdapter } from "../src/weights/lora-adapter.ts";
import { seededGguf } from "../tools/gguf/seeded-gguf.ts";
import { writeGguf } from "../tools/gguf/write-gguf.ts";
import type { Turn } from "./engine/child.ts";
import { EngineProcess, profile } from "./engine/engine-process.ts";
import { ENGINES, type EngineName, type EngineSource } from "./engine/engines.ts";
import { installLlama } from "./engine/llama-package.ts";
import { watchOthers } from "./engine/machine-load.ts";
import { type EngineResult, reportEngines, reportProfile } from "./engine/report.ts";
import type { BenchOptions, Section } from "./harness.ts";
import { CASES, type LargeCase, type SeededFolders, seededFolders } from "./seeded-model.ts";
import { peakMemory, startProvider } from "./provider-process.ts";

/** Tokens of the prompts, and steps that follow the short one. */
const LENGTHS = { short: 128, long: 1024, steps: 16 };
const QUICK_LENGTHS = { short: 16, long: 64, steps: 4 };
/** A prompt of the long kind is read in so many rounds. */
const LONG_ROUNDS = 3;
/** Threads that wait for work go on turning for some milliseconds: they shall not turn in the next one's time. */
const PAUSE_MS = 100;
/** The shape that runs without --full, and those whose models fit into memory all at once. */
const SMALL = "qwen2.5-0.5b";
/** The rest is asked for with --only. */
const DEFAULT_ENGINES: readonly EngineName[] = ["llama", "graph", "lora", "private"];

export async function run(options: BenchOptions): Promise<Section[]> {
  const chosen = CASES.filter(({ shape }) =>
    options.shape === undefined ? options.full || shape === SMALL : shape.startsWith(options.shape),
  );
  if (chosen.length === 0) throw new Error(`no shape named ${options.shape}`);
  const sections: Section[] = [];
  for (const each of chosen.toReversed()) sections.push(await runCase(each, options));
  return sections;
}

async function runCase(each: LargeCase, options: BenchOptions): Promise<Section> {
  const folders = seededFolders(each, options.quick ? each.smallLayers : undefined);
  const only: readonly string[] = options.only ?? DEFAULT_ENGINES;
  const unknown = only.find((name) => !ENGINES.some((known) => known === name));
  if (unknown !== undefined) throw new Error(`no engine named ${unknown}, only ${ENGINES.join(", ")}`);
  const names = ENGINES.filter((name) => only.includes(name));
  const cleanUp: (() => unknown)[] = [];
  try {
    const { source, provider } = await prepare(folders, names, options, cleanUp);
    if (options.profile) return await profileCase(each, folders, names, source, options.quick);
    const rounds = options.rounds ?? (options.quick ? 1 : each.shape === SMALL ? 8 : 4);
    const results = new Map<EngineName, EngineResult>();
    // Two models of 6 billion parameters fit into memory, four do not: each is then measured beside llama.cpp.
    for (const group of each.shape === SMALL || names.length < 3 ? [names] : inPairs(names)) {
      const how = { rounds, quick: options.quick, pids: provider ? [provider.pid] : [] };
      for (const result of await measureInTurns(group, source, folders.shape.vocab, how)) {
        if (!results.has(result.name)) results.set(result.name, result);
      }
    }
    return reportEngines(each, folders.shape, [...results.values()], {
      weights: source.weights,
      rounds,
      ...(provider && { provider: { ...provider, peak: peakMemory(provider.pid) } }),
      ...(options.quick ? QUICK_LENGTHS : LENGTHS),
    });
  } finally {
    for (const step of cleanUp.reverse()) await step();
  }
}

/** llama.cpp has no such profile. */
async function profileCase(
  each: LargeCase,
  { shape }: SeededFolders,
  names: readonly EngineName[],
  source: EngineSource,
  quick: boolean,
): Promise<Section> {
  const { short, steps } = quick ? QUICK_LENGTHS : LENGTHS;
  const ids = seededIds(short + steps, shape.vocab);
  const bodies: string[] = [];
  for (const name of names) {
    if (name === "llama") continue;
    bodies.push(reportProfile(name, await profile(name, source, ids.slice(0, short), ids.slice(short))));
  }
  return { title: `${each.shape}, ${shape.layers} layers: where the time goes`, body: bodies.join("\n\n") };
}

const inPairs = ([first, ...others]: readonly EngineName[]) =>
  others.map((other): readonly EngineName[] => [first, other]);

/** Makes and reads everything that a load needs, so that loads are second ones and files are in memory. */
async function prepare(
  { base, adapter, shape }: SeededFolders,
  names: readonly EngineName[],
  options: BenchOptions,
  cleanUp: (() => unknown)[],
): Promise<{ source: EngineSource; provider: Serving | undefined }> {
  const gguf = join(dirname(base), "seeded-q4_0.gguf");
  const source: EngineSource = { base, adapter, weights: options.weights ?? "int4", gguf, llama: "" };
  const provider = names.includes("private") ? await serve(source, cleanUp) : undefined;
  if (names.includes("llama") && !existsSync(gguf)) {
    console.error(`making ${gguf} …`);
    mkdirSync(dirname(gguf), { recursive: true });
    writeGguf(gguf, seededGguf(shape));
  }
  const llama = names.includes("llama") ? installLlama() : "";
  if (names.some((name) => name !== "llama")) (await EngineProcess.load("graph", source)).kill();
  if (names.includes("llama")) await readThrough(gguf);
  return { source: { ...source, llama, ...(provider && { provider }) }, provider };
}

/** A provider in a separate process, and what it took to get there, once. */
interface Serving {
  readonly pid: number;
  readonly url: string;
  readonly baseFingerprint: Uint8Array;
  readonly fingerprintMs: number;
  readonly bundleMs: number;
  readonly bundleBytes: number;
}

async function serve({ base, adapter }: EngineSource, cleanUp: (() => unknown)[]): Promise<Serving> {
  const checkpoint = await openCheckpoint(nodeFileTree(base));
  const fitted = await fitAdapter(await openLoraAdapter(nodeFileTree(adapter)), checkpoint);
  const start = performance.now();
  const baseFingerprint = await fingerprintCheckpoint(checkpoint);
  const fingerprinted = performance.now();
  const made = await createBundle({ adapter: "bench", baseFingerprint, ...fitted }, systemRandom);
  const bundleMs = performance.now() - fingerprinted;
  const state = mkdtempSync(join(tmpdir(), "tacet-bench-"));
  cleanUp.push(() => rmSync(state, { recursive: true, force: true }));
  await writeStateFolder(state, made);
  const { child, url } = await startProvider(state);
  cleanUp.push(() => child.kill());
  const bundleBytes = made.bundle.length;
  return {
    pid: child.pid!,
    url,
    baseFingerprint,
    fingerprintMs: fingerprinted - start,
    bundleMs,
    bundleBytes,
  };
}

async function readThrough(path: string): Promise<void> {
  const file = await open(path);
  const block = Buffer.alloc(1 << 22);
  while ((await file.read(block)).bytesRead > 0);
  await file.close();
}

async function measureInTurns(
  names: readonly EngineName[],
  source: EngineSource,
  vocab: number,
  { rounds, quick, pids }: { rounds: number; quick: boolean; pids: readonly number[] },
): Promise<EngineResult[]> {
  const lengths = quick ? QUICK_LENGTHS : LENGTHS;
  const ids = seededIds(lengths.long + lengths.steps, vocab);
  const steps = ids.slice(lengths.long);
  const engines: EngineProcess[] = [];
  try {
    for (const name of names) {
      console.error(`loading ${name} …`);
      engines.push(await EngineProcess.load(name, source));
    }
    const others = watchOthers([process.pid, ...pids, ...engines.map(({ pid }) => pid)]);
    const short = ids.slice(0, lengths.short);
    // New code is slow until V8 has compiled it, and memory is touched for the first time: these do not count.
    const first: Turn[] = [];
    for (const engine of engines) first.push(await engine.turn(short, steps, wantsLogits(engine.name)));
    const turns: Turn[][] = engines.map(() => []);
    const long: number[][] = engines.map(() => []);
    for (let round = 0; round < rounds; round++) {
      // Who goes first changes every time.
      for (let i = 0; i < engines.length; i++) {
        const at = (i + round) % engines.length;
        await pause();
        turns[at].push(await engines[at].turn(short, steps));
      }
    }
    for (let round = 0; round < Math.min(rounds, LONG_ROUNDS); round++) {
      for (let i = 0; i < engines.length; i++) {
        const at = (i + round) % engines.length;
        await pause();
        long[at].push((await engines[at].turn(ids.slice(0, lengths.long), [])).prompt);
      }
    }
    const othersPart = others();
    const results: EngineResult[] = [];
    for (const [i, engine] of engines.entries()) {
      const { peak, facts } = await engine.end();
      const { name, loadMs } = engine;
      results.push({
        name,
        loadMs,
        peak,
        facts,
        othersPart,
        first: first[i],
        turns: turns[i],
        long: long[i],
      });
    }
    return results;
  } finally {
    for (const engine of engines) engine.kill();
  }
}

/** What is private is held against the same adapter in plaintext. */
const wantsLogits = (name: EngineName) => name === "lora" || name === "private";

const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));

/** Ids all over the vocabulary, always the same: what they are does not change the time. */
function seededIds(count: number, vocab: number): number[] {
  return Array.from({ length: count }, (_, i) => (Math.imul(i + 1, 0x9e3779b1) >>> 0) % vocab);
}
