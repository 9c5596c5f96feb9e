// What a user would run instead, llama.cpp, beside our engine in plaintext and private, for published models' shapes with
// seeded weights. All are loaded, each in a separate process, and take turns, so that a neighbour on the machine hits all
// alike.
import type { Turn } from "./engine/child.ts";
import { EngineProcess, profile } from "./engine/engine-process.ts";
import { ENGINES, type EngineName, type EngineSource } from "./engine/engines.ts";
import { installLlama } from "./engine/llama-package.ts";
import { atRest, watchOthers } from "./engine/machine-load.ts";
import { prepare } from "./engine/prepare.ts";
import { type EngineResult, reportEngines, reportProfile } from "./engine/report.ts";
import type { BenchOptions, Section } from "./harness.ts";
import { peakMemory } from "./provider-process.ts";
import { CASES, type LargeCase, type SeededFolders, seededFolders } from "./seeded-model.ts";

/** Tokens of the prompts, and steps that follow the short one. */
const LENGTHS = { short: 128, long: 1024, steps: 16 };
const QUICK_LENGTHS = { short: 16, long: 64, steps: 4 };
/** The shape that runs without --full. */
const SMALL = "qwen2.5-0.5b";
/** Rounds of turns, and of them those that read a long prompt too. */
const ROUNDS = { small: { rounds: 9, longRounds: 3 }, large: { rounds: 3, longRounds: 1 } };
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
  const { names, missing } = withLlama(
    ENGINES.filter((name) => only.includes(name)),
    options.only !== undefined,
  );
  const cleanUp: (() => unknown)[] = [];
  try {
    const { source, provider } = await prepare(folders, names, options.weights ?? "int4", cleanUp);
    if (options.profile) return await profileCase(each, folders, names, source, options.quick);
    const usual = ROUNDS[each.shape === SMALL ? "small" : "large"];
    const rounds = options.rounds ?? (options.quick ? 1 : usual.rounds);
    const longRounds = options.short ? 0 : Math.min(rounds, usual.longRounds);
    const how = { rounds, longRounds, quick: options.quick, pids: provider ? [provider.pid] : [] };
    const results: EngineResult[] = [];
    // Two models of 6 billion parameters fit into memory, four do not: each is then measured beside llama.cpp.
    for (const group of each.shape === SMALL || names.length < 3 ? [names] : inPairs(names)) {
      const [first, ...others] = await measureInTurns(group, source, folders.shape.vocab, how);
      results.push(...(results.length === 0 ? [first] : []), ...others);
    }
    return reportEngines(each, folders.shape, results, {
      weights: source.weights,
      rounds,
      missing,
      ...(provider && { provider: { ...provider, peak: peakMemory(provider.pid) } }),
      ...(options.quick ? QUICK_LENGTHS : LENGTHS),
    });
  } finally {
    for (const step of cleanUp.reverse()) await step();
  }
}

/** Installs llama.cpp where it is one of them. Without a network the others are measured, unless it was asked for by name. */
function withLlama(
  names: readonly EngineName[],
  isAskedFor: boolean,
): { names: readonly EngineName[]; missing?: string } {
  if (!names.includes("llama")) return { names };
  try {
    installLlama();
    return { names };
  } catch (error) {
    if (isAskedFor) throw error;
    const missing = `**llama.cpp is not measured**: it could not be installed (${(error as Error).message.split("\n")[0]}).`;
    return { names: names.filter((name) => name !== "llama"), missing };
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

interface TurnOptions {
  readonly rounds: number;
  readonly longRounds: number;
  readonly quick: boolean;
  /** Besides the engines, processes that belong to the measurement. */
  readonly pids: readonly number[];
}

async function measureInTurns(
  names: readonly EngineName[],
  source: EngineSource,
  vocab: number,
  { rounds, longRounds, quick, pids }: TurnOptions,
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
    const parts = [...pids, ...engines.map(({ pid }) => pid)];
    const others = watchOthers([process.pid, ...parts]);
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
        await atRest(parts);
        turns[at].push(await engines[at].turn(short, steps));
      }
    }
    for (let round = 0; round < longRounds; round++) {
      for (let i = 0; i < engines.length; i++) {
        const at = (i + round) % engines.length;
        await atRest(parts);
        long[at].push((await engines[at].turn(ids.slice(0, lengths.long), [])).prompt);
      }
    }
    const othersPart = others();
    const results: Omit<EngineResult, "reference">[] = [];
    for (const [i, engine] of engines.entries()) {
      const { name, loadMs } = engine;
      const times = { first: first[i], turns: turns[i], long: long[i] };
      const { peak, facts } = await engine.end();
      results.push({ name, loadMs, peak, facts, othersPart, ...times });
    }
    const reference = results.find(({ name }) => name === "llama");
    return results.map((result) => ({ ...result, reference }));
  } finally {
    for (const engine of engines) engine.kill();
  }
}

/** What is private is held against the same adapter in plaintext. */
const wantsLogits = (name: EngineName) => name === "lora" || name === "private";

/** Ids all over the vocabulary, always the same: what they are does not change the time. */
function seededIds(count: number, vocab: number): number[] {
  return Array.from({ length: count }, (_, i) => (Math.imul(i + 1, 0x9e3779b1) >>> 0) % vocab);
}
