// What a user would run instead: llama.cpp, beside our engine in plaintext and private, for published models' shapes
// with seeded weights. All are loaded, each in a separate process, and take turns, so that a neighbour on the machine
// hits all alike.
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
import { EngineProcess, profile } from "./engine/engine-process.ts";
import { ENGINES, type EngineName, type EngineSource } from "./engine/engines.ts";
import { installLlama } from "./engine/llama-package.ts";
import { type EngineResult, reportEngines, reportProfile } from "./engine/report.ts";
import type { BenchOptions, Section } from "./harness.ts";
import { CASES, type LargeCase, type SeededFolders, seededFolders } from "./large/seeded-model.ts";
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
  const names = ENGINES.filter((name) => options.only?.includes(name) ?? true);
  const cleanUp: (() => unknown)[] = [];
  try {
    const { source, providerPid } = await prepare(folders, names, options, cleanUp);
    if (options.profile) return await profileCase(each, folders, names, source, options.quick);
    const rounds = options.rounds ?? (options.quick ? 1 : each.shape === SMALL ? 8 : 4);
    const results = new Map<EngineName, EngineResult>();
    // Two models of 6 billion parameters fit into memory, four do not: each is then measured beside llama.cpp.
    for (const group of each.shape === SMALL || names.length < 3 ? [names] : inPairs(names)) {
      for (const result of await measureInTurns(group, source, folders.shape.vocab, rounds, options.quick)) {
        if (!results.has(result.name)) results.set(result.name, result);
      }
    }
    const providerPeak = providerPid === undefined ? undefined : peakMemory(providerPid);
    return reportEngines(each, folders.shape, [...results.values()], {
      weights: source.weights,
      rounds,
      providerPeak,
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
): Promise<{ source: EngineSource; providerPid?: number }> {
  const gguf = join(dirname(base), "seeded-q4_0.gguf");
  let source: EngineSource = { base, adapter, weights: options.weights ?? "int4", gguf, llama: "" };
  let providerPid: number | undefined;
  if (names.includes("private")) {
    const checkpoint = await openCheckpoint(nodeFileTree(base));
    const fitted = await fitAdapter(await openLoraAdapter(nodeFileTree(adapter)), checkpoint);
    const baseFingerprint = await fingerprintCheckpoint(checkpoint);
    const state = mkdtempSync(join(tmpdir(), "tacet-bench-"));
    cleanUp.push(() => rmSync(state, { recursive: true, force: true }));
    const made = await createBundle({ adapter: "bench", baseFingerprint, ...fitted }, systemRandom);
    await writeStateFolder(state, made);
    const { child, url } = await startProvider(state);
    cleanUp.push(() => child.kill());
    providerPid = child.pid!;
    source = { ...source, provider: { url, baseFingerprint } };
  }
  if (names.includes("llama")) {
    source = { ...source, llama: installLlama() };
    if (!existsSync(gguf)) {
      console.error(`making ${gguf} …`);
      mkdirSync(dirname(gguf), { recursive: true });
      writeGguf(gguf, seededGguf(shape));
    }
    await readThrough(gguf);
  }
  if (names.some((name) => name !== "llama")) (await EngineProcess.load("graph", source)).kill();
  return { source, ...(providerPid === undefined ? {} : { providerPid }) };
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
  rounds: number,
  quick: boolean,
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
    const times = engines.map(() => ({ short: [] as number[], long: [] as number[], steps: [] as number[] }));
    // New code is slow until V8 has compiled it; memory is touched for the first time.
    for (const engine of engines) await engine.turn(ids.slice(0, lengths.short), steps);
    for (let round = 0; round < rounds; round++) {
      // Who goes first changes every time.
      for (let i = 0; i < engines.length; i++) {
        const at = (i + round) % engines.length;
        await pause();
        const short = await engines[at].turn(ids.slice(0, lengths.short), steps);
        times[at].short.push(short.prompt);
        times[at].steps.push(...short.steps);
      }
    }
    for (let round = 0; round < Math.min(rounds, LONG_ROUNDS); round++) {
      for (let i = 0; i < engines.length; i++) {
        const at = (i + round) % engines.length;
        await pause();
        times[at].long.push((await engines[at].turn(ids.slice(0, lengths.long), [])).prompt);
      }
    }
    const results: EngineResult[] = [];
    for (const [i, engine] of engines.entries()) {
      const { peak, facts } = await engine.end();
      results.push({ name: engine.name, loadMs: engine.loadMs, peak, facts, ...times[i] });
    }
    return results;
  } finally {
    for (const engine of engines) engine.kill();
  }
}

const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));

/** Ids all over the vocabulary, always the same: what they are does not change the time. */
function seededIds(count: number, vocab: number): number[] {
  return Array.from({ length: count }, (_, i) => (Math.imul(i + 1, 0x9e3779b1) >>> 0) % vocab);
}
