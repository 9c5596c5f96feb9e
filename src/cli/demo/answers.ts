/** The demo's questions and their answers: base alone, plaintext adapter, private. */
import { readFile } from "node:fs/promises";
import { generate } from "../../generation/generate.ts";
import { between, type Reading, readCounters } from "../shared/counters.ts";
import type { TextSide } from "../shared/prompt.ts";
import type { OpenedModel } from "../shared/source.ts";

export interface Question {
  readonly word: string;
  readonly promptIds: readonly number[];
  /** As the embedded model's own file says; undefined for other words. */
  readonly expected: { readonly base: readonly number[]; readonly adapter: readonly number[] } | undefined;
}

export type Expected = ReadonlyMap<string, NonNullable<Question["expected"]>>;

interface ExpectedFile {
  readonly entries: readonly { word: string; base: { ids: number[] }; adapter: { ids: number[] } }[];
}

export async function readExpected(path: string): Promise<Expected> {
  const { entries } = JSON.parse(await readFile(path, "utf8")) as ExpectedFile;
  return new Map(entries.map(({ word, base, adapter }) => [word, { base: base.ids, adapter: adapter.ids }]));
}

/** Greedy ids, the end token included. */
const MAX_NEW_TOKENS = 96;

export async function answerIds(
  { model }: OpenedModel,
  { eosIds }: TextSide,
  question: Question,
  signal: AbortSignal,
): Promise<number[]> {
  const ids: number[] = [];
  const options = { maxNewTokens: MAX_NEW_TOKENS, eosIds, signal };
  for await (const { id } of generate(model, question.promptIds, options)) ids.push(id);
  signal.throwIfAborted();
  return ids;
}

/** Time of one model over all questions. */
export interface Timing {
  readonly tokens: number;
  /** Means per token, of the round whose time per token was the median. */
  readonly perToken: Reading;
}

/** Most time for measuring, and rounds. */
const MEASURE_MS = 4_000;
const ROUNDS = { least: 3, most: 9 };

/**
 * Times the models in turns, so that what else the machine does meets all of them: rounds of all questions each.
 */
export async function timeModels(
  models: readonly OpenedModel[],
  side: TextSide,
  questions: readonly Question[],
  signal: AbortSignal,
  onProgress: (fraction: number) => void,
): Promise<Timing[]> {
  const rounds: Timing[][] = models.map(() => []);
  const start = performance.now();
  for (let round = 0; round < ROUNDS.most; round++) {
    const elapsed = performance.now() - start;
    if (round >= ROUNDS.least && elapsed > MEASURE_MS) break;
    onProgress(Math.max(round / ROUNDS.most, elapsed / MEASURE_MS));
    for (const [m, model] of models.entries()) {
      // So that no idle work falls into another model's time.
      for (const { remote } of models) await remote?.adapter.ready();
      const before = readCounters(model);
      let tokens = 0;
      for (const question of questions) tokens += (await answerIds(model, side, question, signal)).length;
      rounds[m].push({ tokens, perToken: between(before, readCounters(model), tokens) });
    }
  }
  return rounds.map((timings) => {
    const sorted = [...timings].sort((a, b) => a.perToken.totalMs - b.perToken.totalMs);
    return sorted[sorted.length >> 1];
  });
}
