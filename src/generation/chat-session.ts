/** A conversation with a model: messages in, streamed answers out. */

import { checkOptions, type OptionTypes } from "../base/check-options.ts";
import { TacetError } from "../base/errors.ts";
import type { CausalLm } from "../model/causal-lm.ts";
import {
  type ChatMessage,
  type ChatTemplate,
  loadChatTemplate,
  type TemplateVariables,
} from "../text/chat-template.ts";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { type Answer, type AnswerEnd, type AnswerPiece, answerOf, type AnswerCounts } from "./answer.ts";
import {
  type AnswerDefaults,
  type AnswerOptions,
  answerOptions,
  checkAnswerOptions,
  roomFor,
  writeAnswer,
} from "./answer-stream.ts";
import { CachedContext } from "./cached-context.ts";
import { readGenerationDefaults } from "./generation-defaults.ts";

export interface ChatSessionOptions {
  /** Stands before the conversation and is never dropped. */
  readonly system?: string | undefined;
  /** What the chat template reads besides the conversation, as in `{ enable_thinking: false }`. */
  readonly templateVariables?: TemplateVariables | undefined;
  /** A conversation to go on with. */
  readonly messages?: readonly ChatMessage[] | undefined;
  /**
   * What becomes of a conversation that outgrows the context: an error (default), or the model no longer sees the
   * oldest turns.
   */
  readonly overflow?: "error" | "drop-oldest" | undefined;
  /** With "drop-oldest": tokens to keep free for an answer. Default: maxNewTokens, at most a quarter of the context. */
  readonly reserveTokens?: number | undefined;
  /** For answers that do not say otherwise. `open` takes those of the checkpoint where there are none here. */
  readonly defaults?: AnswerDefaults | undefined;
  /** False: every `send` begins a new conversation; for models made for one question at a time. Default: true. */
  readonly remember?: boolean | undefined;
  /** Called with the number of messages that the model no longer sees from now on. */
  readonly onDropped?: ((messages: number) => void) | undefined;
}

const SESSION: OptionTypes<ChatSessionOptions> = {
  system: "string",
  templateVariables: "object",
  messages: "list",
  overflow: "string",
  reserveTokens: "number",
  defaults: "object",
  remember: "boolean",
  onDropped: "function",
};

/** What a conversation is made of, besides the model. */
export interface ChatText {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
}

/** Tokens kept free where nothing says how long an answer may become. */
const USUAL_ANSWER = 256;

/**
 * Each answer is generated from the whole conversation as the template renders it; the KV cache only saves reading
 * again what it has in common with what was read last. So the history may be changed, an answer be asked for again,
 * broken off or lost, and the next one is what a new session would give.
 *
 * An answer that was broken off stays in the history as far as it was given out. A message without any answer (it
 * failed before the first word) can be answered by `retry`; the next `send` takes it back.
 */
export class ChatSession {
  readonly #text: ChatText;
  readonly #context: CachedContext;
  readonly #options: ChatSessionOptions;
  #system: string | undefined;
  #messages: ChatMessage[];
  /** How many of the messages the model no longer sees. */
  #dropped = 0;
  #busy = false;

  /** @throws TacetError bad_argument for options that do not exist */
  constructor(model: CausalLm, text: ChatText, options: ChatSessionOptions = {}) {
    checkOptions(options, SESSION, {
      of: "a conversation",
      known: { temperature: "defaults.sampling.temperature", maxNewTokens: "defaults.maxNewTokens" },
    });
    this.#context = new CachedContext(model);
    this.#text = text;
    this.#options = options;
    this.#system = options.system;
    this.#messages = [...(options.messages ?? [])];
  }

  /** @throws TacetError bad_tokenizer if the checkpoint has no tokenizer or no chat template */
  static async open(
    model: CausalLm,
    checkpoint: Checkpoint,
    options: ChatSessionOptions = {},
  ): Promise<ChatSession> {
    const text = {
      tokenizer: await loadTokenizer(checkpoint),
      template: await loadChatTemplate(checkpoint),
    };
    if (options.defaults !== undefined) return new ChatSession(model, text, options);
    const { sampling, maxNewTokens } = await readGenerationDefaults(checkpoint);
    const defaults = { sampling, maxNewTokens };
    return new ChatSession(model, text, { ...options, defaults });
  }

  /** The conversation so far, without the system message. */
  get messages(): readonly ChatMessage[] {
    return [...this.#messages];
  }

  /** How many of the oldest messages the model no longer sees. */
  get droppedMessages(): number {
    return this.#dropped;
  }

  get system(): string | undefined {
    return this.#system;
  }

  /** Takes effect with the next answer. */
  setSystem(system: string | undefined): void {
    this.#system = system;
  }

  /** Replaces this conversation by another: an edited history, or an empty one. */
  setMessages(messages: readonly ChatMessage[]): void {
    this.#assertIdle();
    this.#messages = [...messages];
    this.#dropped = 0;
  }

  /** Begins again; the system message stays. */
  reset(): void {
    this.setMessages([]);
  }

  /**
   * Says something. The answer begins when somebody reads it. To break it off, fire the signal, or leave the loop.
   * It fails with TacetError context_overflow; bad_argument if the template refuses the conversation; whatever
   * streamAnswer fails with; TypeError while another answer is given.
   */
  send(content: string, options: AnswerOptions = {}): Answer {
    return this.#answer(options, () => {
      if (typeof content !== "string") {
        throw new TacetError("bad_argument", "a message is text", { hint: 'as in chat.send("tender")' });
      }
      if (this.#options.remember === false) {
        this.#messages = [];
        this.#dropped = 0;
      }
      if (this.#messages.at(-1)?.role === "user") this.#messages.pop();
      this.#messages.push({ role: "user", content });
    });
  }

  /**
   * Answers the last message once more, instead of the answer it has. Fails as {@link send} does; with bad_argument if
   * there is no message.
   */
  retry(options: AnswerOptions = {}): Answer {
    return this.#answer(options, () => {
      const last = this.#messages.findLastIndex(({ role }) => role === "user");
      if (last < 0) throw new TacetError("bad_argument", "there is no message to answer again");
      this.#messages.length = last + 1;
    });
  }

  /** Forgets what was read and frees its memory; the model stays. */
  dispose(): void {
    this.#context.dispose();
  }

  #answer(wishes: AnswerOptions, prepare: () => void): Answer {
    return answerOf((counts) => this.#write(wishes, prepare, counts));
  }

  async *#write(
    wishes: AnswerOptions,
    prepare: () => void,
    counts: AnswerCounts,
  ): AsyncGenerator<AnswerPiece, AnswerEnd, void> {
    this.#assertIdle();
    checkAnswerOptions(wishes);
    const { defaults = {} } = this.#options;
    const options = answerOptions(defaults, wishes);
    this.#busy = true;
    let text = "";
    let answered = false;
    try {
      prepare();
      const promptIds = this.#promptIds(options.maxNewTokens);
      const answer = answerOf(() =>
        writeAnswer(this.#context, this.#text.tokenizer, promptIds, options, counts),
      );
      for await (const piece of answer) {
        text += piece.text;
        yield piece;
      }
      const end = await answer.end;
      answered = end.reason !== "aborted";
      return end;
    } finally {
      if (text !== "" || answered) this.#messages.push({ role: "assistant", content: text });
      this.#busy = false;
    }
  }

  /** The conversation as ids, without the oldest turns where it must be. */
  #promptIds(maxNewTokens: number | undefined): readonly number[] {
    const { overflow = "error", reserveTokens, onDropped } = this.#options;
    const { contextLength } = this.#context.model;
    if (overflow === "error") {
      const ids = this.#render(this.#dropped);
      roomFor(ids.length, contextLength);
      return ids;
    }
    const quarter = Math.max(1, Math.floor(contextLength / 4));
    const reserve = reserveTokens ?? Math.min(maxNewTokens ?? USUAL_ANSWER, quarter);
    let dropped = this.#dropped;
    let ids: readonly number[] | undefined;
    for (;;) {
      const next = this.#nextTurn(dropped);
      // Of what has to fit in any case, the error is the answer; of the others, the next try.
      ids = next === undefined ? this.#render(dropped) : this.#renderIfShort(dropped);
      if (next === undefined || (ids !== undefined && ids.length + reserve <= contextLength + 1)) break;
      dropped = next;
    }
    ids ??= [];
    // The system message and the last one do not fit by themselves.
    roomFor(ids.length, contextLength);
    if (dropped > this.#dropped) onDropped?.(dropped - this.#dropped);
    this.#dropped = dropped;
    return ids;
  }

  /** Where the turn behind the oldest one begins; undefined if that is the last one. */
  #nextTurn(from: number): number | undefined {
    const next = this.#messages.findIndex(({ role }, i) => i > from && role === "user");
    return next < 0 ? undefined : next;
  }

  #render(dropped: number): readonly number[] {
    const { tokenizer, template } = this.#text;
    const system = this.#system === undefined ? [] : [{ role: "system", content: this.#system }];
    const { templateVariables: variables } = this.#options;
    const text = template.render([...system, ...this.#messages.slice(dropped)], { variables });
    return tokenizer.encode(text, { addSpecialTokens: false, atMost: this.#context.model.contextLength });
  }

  /** Undefined: it is far too long. */
  #renderIfShort(dropped: number): readonly number[] | undefined {
    try {
      return this.#render(dropped);
    } catch (error) {
      if (error instanceof TacetError && error.code === "context_overflow") return undefined;
      throw error;
    }
  }

  #assertIdle(): void {
    if (this.#busy) throw new TypeError("the session is giving another answer");
  }
}
