/** `tacet generate`: an answer, token by token. */
import { toHex } from "../../base/bytes.ts";
import { TacetError } from "../../base/errors.ts";
import { checkStopTokenIds } from "../../generation/answer-stream.ts";
import { AnswerText } from "../../generation/answer-text.ts";
import type { DraftCounts } from "../../generation/drafts/drafting.ts";
import { generate } from "../../generation/generate.ts";
import { readGenerationDefaults } from "../../generation/generation-defaults.ts";
import { between, type Reading, readMeter, rounded, timeSplit } from "../shared/counters.ts";
import {
  checkIds,
  openTextSide,
  type PromptOptions,
  promptIds,
  readPrompt,
  type TextSide,
} from "../shared/prompt.ts";
import { describeFailure } from "../shared/report-error.ts";
import { type DraftFlags, draftsOf } from "../shared/draft-options.ts";
import { type SamplingFlags, samplingOf } from "../shared/sampling-options.ts";
import { checkSource, type OpenedModel, openModel, type SourceOptions } from "../shared/source.ts";
import { print, printJson, writeAnswer } from "../shared/terminal.ts";
import { warnOfBudget } from "../shared/warn-of-budget.ts";
import { type Resumed, readResume, resumable } from "./resume.ts";

export interface GenerateOptions extends SourceOptions, PromptOptions, SamplingFlags, DraftFlags {
  readonly resume?: string;
  readonly json?: boolean;
}

/** New tokens at most, where the user does not say and the context has room. */
const DEFAULT_NEW_TOKENS = 256;

/** What is known of an answer, also when it broke off. */
interface Progressed {
  readonly promptIds: readonly number[];
  readonly ids: number[];
  finishReason: "eos" | "stop" | "length" | "aborted" | "error";
  /** Before the first pass, after it, and after the last. */
  readonly readings: Reading[];
  /** Where the model has a tokenizer. */
  text: string;
  readonly drafts: DraftCounts;
}

export async function runGenerate(
  words: readonly string[],
  options: GenerateOptions,
  signal: AbortSignal,
): Promise<void> {
  checkSource(options);
  const resumed = await readStart(words, options);
  const text = resumed === undefined ? await readPrompt(words, options) : "";
  const loadStart = performance.now();
  const source = await openModel(options, signal);
  const loadMs = performance.now() - loadStart;
  try {
    checkStopTokenIds(options.stopId ?? [], source.model.config.vocabSize);
    const own = await openTextSide(source.checkpoint);
    const side = { ...own, eosIds: [...own.eosIds, ...(options.stopId ?? [])] };
    const start = resumed ?? {
      promptIds: await promptIds(source.checkpoint, side, text, options, source.model.contextLength),
      ids: [],
    };
    if (side.tokenizer === undefined && options.stop !== undefined) {
      throw new TacetError("bad_argument", "--stop is about text, and the model has no tokenizer");
    }
    checkIds([...start.promptIds, ...start.ids], source.model.config.vocabSize);
    const state: Progressed = {
      promptIds: start.promptIds,
      ids: [...start.ids],
      finishReason: "length",
      readings: [],
      text: "",
      drafts: { drafted: 0, accepted: 0 },
    };
    let failure: unknown;
    try {
      await answer(source, side, state, options, signal);
    } catch (error) {
      state.finishReason = "error";
      failure = resumable(error, { json: options.json === true, tokens: state.ids.length });
    }
    if (options.json) printJson(resultOf(source, side, state, start.ids.length, loadMs, failure));
    else warnOfBudget(source);
    if (failure !== undefined) throw failure;
    if (state.finishReason === "aborted") throw signal.reason;
  } finally {
    await source.close();
  }
}

async function readStart(words: readonly string[], options: GenerateOptions): Promise<Resumed | undefined> {
  if (options.resume === undefined) return undefined;
  if (
    words.length > 0 ||
    options.ids !== undefined ||
    options.raw ||
    options.system !== undefined ||
    options.templateArg !== undefined
  ) {
    throw new TacetError("bad_argument", "--resume has the prompt, and excludes another one");
  }
  return await readResume(options.resume);
}

/** Generates into `state`, and onto stdout unless JSON is asked for. */
async function answer(
  source: OpenedModel,
  { tokenizer, eosIds }: TextSide,
  state: Progressed,
  options: GenerateOptions,
  signal: AbortSignal,
): Promise<void> {
  const text = tokenizer === undefined ? undefined : new AnswerText(tokenizer, options.stop);
  const show = (more: string): void => {
    state.text += more;
    if (!options.json) writeAnswer(more);
  };
  /** Shows a token; says whether the answer ends with it. */
  const take = (id: number, index: number): boolean => {
    const ends = eosIds.includes(id);
    if (text === undefined) show(index === 0 ? `${id}` : `,${id}`);
    else if (!ends) show(text.push(id));
    if (text?.stop !== undefined) state.finishReason = "stop";
    else if (ends) state.finishReason = "eos";
    return state.finishReason !== "length";
  };
  const prompt = [...state.promptIds, ...state.ids];
  const room = Math.max(1, source.model.contextLength + 1 - prompt.length);
  const defaults = await readGenerationDefaults(source.checkpoint);
  const { maxNewTokens: usual = DEFAULT_NEW_TOKENS, maxLength = Number.POSITIVE_INFINITY } = defaults;
  if (options.maxNewTokens === undefined && state.promptIds.length >= maxLength) {
    throw new TacetError(
      "context_overflow",
      `the prompt has ${state.promptIds.length} tokens, and the model's generation_config.json ends prompt and answer at ${maxLength} (max_length)`,
      { hint: "--max-new-tokens N says how long the answer may be instead" },
    );
  }
  const most = options.maxNewTokens ?? Math.min(usual, Math.max(1, maxLength - state.promptIds.length), room);
  try {
    if (state.ids.some(take)) return;
    state.readings.push(readMeter(source));
    const tokens = generate(source.model, prompt, {
      maxNewTokens: Math.max(0, most - state.ids.length),
      eosIds,
      signal,
      sampling: { ...defaults.sampling, ...samplingOf(options) },
      ...draftsOf(options),
      draftCounts: state.drafts,
      // What was generated before never invokes an adapter.
      ...(source.model.invocationTokens && { adaptedFrom: source.model.adaptedFrom(state.promptIds) }),
    });
    for (;;) {
      const next = await tokens.next();
      if (next.done) {
        state.finishReason = next.value.reason;
        break;
      }
      if (state.readings.length === 1) state.readings.push(readMeter(source));
      state.ids.push(next.value.id);
      if (take(next.value.id, state.ids.length - 1)) break;
    }
  } finally {
    if (state.readings.length > 0) state.readings.push(readMeter(source));
    show(text?.finish() ?? "");
    if (!options.json) print();
  }
}

function resultOf(
  { kind, remote, model }: OpenedModel,
  { tokenizer }: TextSide,
  { promptIds: prompt, ids, finishReason, readings, text, drafts }: Progressed,
  resumedTokens: number,
  loadMs: number,
  failure: unknown,
): Record<string, unknown> {
  const made = ids.length - resumedTokens;
  const [start, first, end] = readings.length === 3 ? readings : [readings[0], readings[1], readings[1]];
  const all = start === undefined ? undefined : between(start, end);
  const decode = readings.length === 3 ? between(first, end, made - 1) : undefined;
  return {
    ids,
    ...(tokenizer === undefined ? {} : { text }),
    promptIds: prompt,
    finishReason,
    source: kind,
    timings: {
      loadMs: rounded(loadMs),
      ...(first === undefined ? {} : { prefillMs: rounded(between(start, first).totalMs) }),
      ...(decode === undefined || made < 2
        ? {}
        : { decodeMsPerToken: rounded(decode.totalMs), perToken: timeSplit(decode) }),
    },
    bytesUp: all?.bytesUp ?? 0,
    bytesDown: all?.bytesDown ?? 0,
    roundTrips: all?.roundTrips ?? 0,
    vectors: all?.vectors ?? 0,
    ...(decode !== undefined && made > 1 && { roundTripsPerToken: rounded(decode.exchanges) }),
    drafts,
    contextLength: model.contextLength,
    ...(remote === undefined
      ? {}
      : {
          adapter: remote.bundle.manifest.adapter,
          bundleDigest: toHex(remote.bundle.digest),
          budget: remote.provider.budget,
          // Threads beside the client's that encrypt prompts, and why there are none.
          encryption: remote.adapter.encryption,
          // Handshake, and the bundle where it was not in the cache.
          connect: { bytesUp: start?.bytesUp ?? 0, bytesDown: start?.bytesDown ?? 0 },
          // Since the connection was asked for: the first one is fetched while the model is loaded.
          keys: { number: remote.provider.traffic.keys, bytes: remote.provider.traffic.keyBytes },
        }),
    ...(failure === undefined ? {} : { error: describeFailure(failure) }),
  };
}
