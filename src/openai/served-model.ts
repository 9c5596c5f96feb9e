/** A model under its public name, answering several requests at once. */

import { checkOptions, type OptionTypes } from "../base/check-options.ts";
import { TacetError } from "../base/errors.ts";
import type { FairSemaphore } from "../base/fair-semaphore.ts";
import {
  type Answer,
  type AnswerEnd,
  type AnswerPiece,
  answerOf,
  type AnswerCounts,
} from "../generation/answer.ts";
import {
  type AnswerDefaults,
  type AnswerOptions,
  answerOptions,
  checkStopTokenIds,
  roomFor,
  writeAnswer,
} from "../generation/answer-stream.ts";
import type { DraftLimits } from "../generation/drafts/drafting.ts";
import type { CachedContext } from "../generation/cached-context.ts";
import { readGenerationDefaults } from "../generation/generation-defaults.ts";
import type { CausalLm } from "../model/causal-lm.ts";
import { type ChatTemplate, loadChatTemplate, type TemplateVariables } from "../text/chat-template.ts";
import { checkDraftLimits } from "../generation/generate.ts";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { badField } from "./api-error.ts";
import { ContextPool } from "./context-pool.ts";
import type { GenerationRequest, RequestPrompt } from "./parse-request.ts";

export interface ServedModelOptions {
  /** What requests call it. */
  readonly id: string;
  readonly model: CausalLm;
  readonly checkpoint: Checkpoint;
  readonly ownedBy: string;
  /** Changes when answers may: `system_fingerprint`. */
  readonly fingerprint?: string;
  /** Who is answered now; may be shared by several models. */
  readonly answers: FairSemaphore;
  /** Ids that end every answer, besides those of base model and adapter. */
  readonly stopTokenIds?: readonly number[];
  /** Conversations whose KV cache is kept for their next turn: how many of this model, or a pool that models share. */
  readonly contexts: number | ContextPool;
  /** What drafts of its answers may cost. */
  readonly drafts?: DraftLimits | undefined;
  /** For the chat template, where a request's chat_template_kwargs do not say otherwise. */
  readonly templateVariables?: TemplateVariables | undefined;
}

const OPTIONS: OptionTypes<ServedModelOptions> = {
  id: "string",
  model: "object",
  checkpoint: "object",
  ownedBy: "string",
  templateVariables: "object",
  fingerprint: "string",
  answers: "object",
  stopTokenIds: "list",
  contexts: "any",
  drafts: "object",
};
const REQUIRED = {
  id: '"law"',
  model: "law.privateModel.model",
  checkpoint: "law.privateModel.checkpoint",
  ownedBy: '"provider"',
  answers: "new FairSemaphore(4, 64)",
  contexts: "4",
};

export interface Answering {
  readonly answer: Answer;
  /** Last id of the prompt: the answer's first token follows it. */
  readonly lastPromptId: number;
}

/** Models on one base have one tokenizer, unless an adapter brings tokens or ends. */
const TOKENIZERS = new WeakMap<Checkpoint, Promise<Tokenizer>>();

async function tokenizerOf(checkpoint: Checkpoint): Promise<Tokenizer> {
  const loading = TOKENIZERS.get(checkpoint) ?? loadTokenizer(checkpoint);
  TOKENIZERS.set(checkpoint, loading);
  return await loading;
}

/** Of a prompt at a time: the model makes passes of this length anyway (model/context-length.ts). */
const PART_TOKENS = 512;

/** All of a prompt but its last part. What was read stays where a reader goes away in the middle: it may ask again. */
async function readInParts(
  context: CachedContext,
  ids: readonly number[],
  signal: AbortSignal,
): Promise<void> {
  while (ids.length - context.reusable(ids) > PART_TOKENS) await context.read(ids, PART_TOKENS, signal);
}

export class ServedModel {
  readonly id: string;
  readonly ownedBy: string;
  readonly fingerprint: string | undefined;
  readonly tokenizer: Tokenizer;
  readonly #stopTokenIds: readonly number[];
  readonly #template: ChatTemplate | undefined;
  readonly #templateVariables: TemplateVariables;
  readonly #defaults: AnswerDefaults;
  readonly #model: CausalLm;
  readonly #pool: ContextPool;
  readonly #answers: FairSemaphore;
  readonly #drafts: DraftLimits;

  private constructor(
    options: ServedModelOptions,
    text: { readonly tokenizer: Tokenizer; readonly template: ChatTemplate | undefined },
    defaults: AnswerDefaults,
  ) {
    this.id = options.id;
    this.ownedBy = options.ownedBy;
    this.fingerprint = options.fingerprint;
    this.#model = options.model;
    this.#answers = options.answers;
    this.#drafts = options.drafts ?? {};
    this.#stopTokenIds = options.stopTokenIds ?? [];
    const { contexts } = options;
    this.#pool = typeof contexts === "number" ? new ContextPool(contexts) : contexts;
    this.tokenizer = text.tokenizer;
    this.#template = text.template;
    this.#templateVariables = options.templateVariables ?? {};
    this.#defaults = defaults;
  }

  /**
   * @throws TacetError bad_argument for options that do not exist or are missing, or a stop id that the model does not
   *   have; bad_tokenizer if the checkpoint has no tokenizer; bad_checkpoint
   */
  static async open(options: ServedModelOptions): Promise<ServedModel> {
    checkOptions(options, OPTIONS, { of: "ServedModel.open", required: REQUIRED });
    const { checkpoint, model, stopTokenIds = [] } = options;
    checkStopTokenIds(stopTokenIds, model.config.vocabSize);
    checkDraftLimits(options.drafts ?? {});
    const tokenizer = await tokenizerOf(checkpoint);
    const template = await loadChatTemplate(checkpoint).catch((error: unknown) => {
      // A model that was not trained for chat completes texts.
      if (error instanceof TacetError && error.code === "bad_tokenizer") return undefined;
      throw error;
    });
    const { sampling, maxNewTokens } = await readGenerationDefaults(checkpoint);
    const defaults = { sampling, maxNewTokens };
    return new ServedModel(options, { tokenizer, template }, defaults);
  }

  /** Ids that end an answer, those that a request names included. */
  endIdsOf({ options }: GenerationRequest): readonly number[] {
    return [...this.tokenizer.eosIds, ...this.#stopTokenIds, ...(options.stopTokenIds ?? [])];
  }

  /** Most tokens of prompt and answer. */
  get contextLength(): number {
    return this.#model.contextLength;
  }

  /**
   * An answer, in fair turns with other answers. It fails with too_many_requests, aborted if the signal fires while it
   * waits, and what streamAnswer fails with.
   *
   * @param owner who asks: what was read for one is not used for another
   * @throws ApiError or TacetError for a prompt that cannot be read
   */
  answer(request: GenerationRequest, owner: string, signal: AbortSignal): Answering {
    const { prompt, options } = request;
    const ids = this.#promptIds(prompt);
    roomFor(ids.length, this.#model.contextLength);
    checkStopTokenIds(options.stopTokenIds ?? [], this.#model.config.vocabSize);
    const eosIds = this.endIdsOf(request);
    const all = { ...answerOptions(this.#defaults, options), ...this.#drafts, eosIds, signal };
    const answer = answerOf((counts) => this.#inTurns(ids, owner, all, signal, counts));
    return { answer, lastPromptId: ids[ids.length - 1] };
  }

  /** Frees the kept contexts; the model stays. */
  dispose(): void {
    this.#pool.dispose();
  }

  async *#inTurns(
    ids: readonly number[],
    owner: string,
    options: AnswerOptions,
    signal: AbortSignal,
    counts: AnswerCounts,
  ): AsyncGenerator<AnswerPiece, AnswerEnd, void> {
    const leave = await this.#answers.take(signal);
    try {
      const context = this.#pool.take(this.#model, ids, owner);
      try {
        const cachedTokens = context.reusable(ids);
        await readInParts(context, ids, signal);
        const pieces = writeAnswer(context, this.tokenizer, ids, options, counts);
        return { ...(yield* pieces), cachedTokens };
      } finally {
        this.#pool.giveBack(context, owner);
      }
    } finally {
      leave();
    }
  }

  #promptIds(prompt: RequestPrompt): readonly number[] {
    const ids = this.#encode(prompt);
    const param = "messages" in prompt ? "messages" : "prompt";
    if (ids.length === 0) throw badField(param, `${param} must not be empty`);
    const { vocabSize } = this.#model.config;
    if (ids.every((id) => id < vocabSize)) return ids;
    throw badField(param, `${param} has a token id outside the model's vocabulary of ${vocabSize}`);
  }

  #encode(prompt: RequestPrompt): readonly number[] {
    if ("ids" in prompt) return prompt.ids;
    if ("text" in prompt) return this.tokenizer.encode(prompt.text, { atMost: this.contextLength });
    if (this.#template === undefined) {
      throw badField("messages", "the model has no chat template: give the whole prompt to /v1/completions");
    }
    const variables = { ...this.#templateVariables, ...prompt.templateVariables };
    const text = this.#template.render(prompt.messages, { variables });
    return this.tokenizer.encode(text, { addSpecialTokens: false, atMost: this.contextLength });
  }
}
