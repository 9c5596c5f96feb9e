/** `tacet generate`: an answer, token by token. */
import { TacetError } from "../../base/errors.ts";
import { checkStopTokenIds } from "../../generation/answer-stream.ts";
import { AnswerText } from "../../generation/answer-text.ts";
import { generate } from "../../generation/generate.ts";
import { readGenerationDefaults } from "../../generation/generation-defaults.ts";
import { readCounters } from "../shared/counters.ts";
import {
  checkIds,
  openTextSide,
  type PromptOptions,
  promptIds,
  readPrompt,
  type TextSide,
} from "../shared/prompt.ts";
import { type DraftFlags, draftsOf } from "../shared/draft-options.ts";
import { type SamplingFlags, samplingOf } from "../shared/sampling-options.ts";
import { checkSource, type OpenedModel, openModel, type SourceOptions } from "../shared/source.ts";
import { print, printJson, printAnswer } from "../shared/terminal.ts";
import { warnOfBudget } from "../shared/warn-of-budget.ts";
import { type Progressed, resultOf } from "./result.ts";
import { type Resumed, readResume, resumable } from "./resume.ts";

export interface GenerateFlags extends SourceOptions, PromptOptions, SamplingFlags, DraftFlags {
  readonly resume?: string;
  readonly json?: boolean;
}

/** New tokens at most, where the user does not say and the context has room. */
const DEFAULT_NEW_TOKENS = 256;

export async function runGenerate(
  words: readonly string[],
  options: GenerateFlags,
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

async function readStart(words: readonly string[], options: GenerateFlags): Promise<Resumed | undefined> {
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
  options: GenerateFlags,
  signal: AbortSignal,
): Promise<void> {
  const text = tokenizer === undefined ? undefined : new AnswerText(tokenizer, options.stop);
  const show = (more: string): void => {
    state.text += more;
    if (!options.json) printAnswer(more);
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
    state.readings.push(readCounters(source));
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
      if (state.readings.length === 1) state.readings.push(readCounters(source));
      state.ids.push(next.value.id);
      if (take(next.value.id, state.ids.length - 1)) break;
    }
  } finally {
    if (state.readings.length > 0) state.readings.push(readCounters(source));
    show(text?.finish() ?? "");
    if (!options.json) print();
  }
}
