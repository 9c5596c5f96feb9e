/** What a program uses: a private model that takes text and gives text. */
import { toHex } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
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
  checkAnswerOptions,
  writeAnswer,
} from "../generation/answer-stream.ts";
import { CachedContext } from "../generation/cached-context.ts";
import { ChatSession, type ChatSessionOptions } from "../generation/chat-session.ts";
import { readGenerationDefaults } from "../generation/generation-defaults.ts";
import {
  type ChatMessage,
  type ChatTemplate,
  loadChatTemplate,
  type TemplateVariables,
} from "../text/chat-template.ts";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import type { BudgetLeft } from "./budget-left.ts";
import type { Traffic } from "./connection/traffic.ts";
import type { PrivateModel } from "./private-model.ts";

/** A question; a conversation; or, past the chat template, text or token ids as they are. */
export type Prompt =
  | string
  | readonly ChatMessage[]
  | { readonly text: string }
  | { readonly ids: readonly number[] };

/** How one prompt is answered. */
export interface TextGenerateOptions extends AnswerOptions {
  /** What the chat template reads besides the conversation, as in `{ enable_thinking: false }`. */
  readonly templateVariables?: TemplateVariables | undefined;
}

export class TextClient {
  /** Everything below text: the model, its counters, the provider. */
  readonly privateModel: PrivateModel;
  #tokenizer: Promise<Tokenizer> | undefined;
  #template: Promise<ChatTemplate> | undefined;
  #defaults: Promise<AnswerDefaults> | undefined;

  constructor(privateModel: PrivateModel) {
    this.privateModel = privateModel;
  }

  /** The adapter that the provider serves. */
  get adapter(): string {
    return this.privateModel.bundle.manifest.adapter;
  }

  /** SHA-256 in hex of the bundle: what `pinnedDigest` insists on. */
  get bundleDigest(): string {
    return toHex(this.privateModel.bundle.digest);
  }

  /** Most tokens of prompt and answer together. */
  get contextLength(): number {
    return this.privateModel.model.contextLength;
  }

  /** Bytes and round trips since the connection was asked for. */
  get traffic(): Readonly<Traffic> {
    return { ...this.privateModel.provider.traffic };
  }

  /** What the account may still ask, as the provider last said; undefined: it sets no budget. */
  get budget(): BudgetLeft | undefined {
    return this.privateModel.provider.budget;
  }

  /**
   * Answers a prompt by itself; several at a time may be asked. Options that are left out come from the checkpoint's
   * generation_config.json. To break off, fire the signal, or leave the loop.
   *
   * The answer fails with TacetError context_overflow; bad_argument for options that do not exist or are out of range,
   * or if the chat template refuses the messages; bad_tokenizer if the checkpoint has no tokenizer, or no chat template
   * where one is needed; connection_lost, timed_out; what the provider refuses with.
   */
  generate(prompt: Prompt, options: TextGenerateOptions = {}): Answer {
    return answerOf((counts) => this.#write(prompt, options, counts));
  }

  async *#write(
    prompt: Prompt,
    { templateVariables, ...options }: TextGenerateOptions,
    counts: AnswerCounts,
  ): AsyncGenerator<AnswerPiece, AnswerEnd, void> {
    checkAnswerOptions(options);
    const ids = await this.#idsOf(prompt, templateVariables);
    const defaults = await (this.#defaults ??= this.#readDefaults());
    const context = new CachedContext(this.privateModel.model);
    const all = answerOptions(defaults, options);
    try {
      return yield* writeAnswer(context, await this.#loadTokenizer(), ids, all, counts);
    } finally {
      context.dispose();
    }
  }

  /**
   * A conversation, which reads only what is new with each message. Sessions are independent of each other.
   * @throws TacetError bad_tokenizer if the checkpoint has no tokenizer or no chat template
   */
  async chat(options: ChatSessionOptions = {}): Promise<ChatSession> {
    const text = { tokenizer: await this.#loadTokenizer(), template: await this.#loadTemplate() };
    const defaults = options.defaults ?? (await (this.#defaults ??= this.#readDefaults()));
    return new ChatSession(this.privateModel.model, text, { ...options, defaults });
  }

  /** Closes the connection, forgets all key material, frees the model. What is being generated fails. */
  async close(): Promise<void> {
    await this.privateModel.close();
  }

  async #idsOf(prompt: Prompt, variables: TemplateVariables | undefined): Promise<readonly number[]> {
    checkPrompt(prompt);
    const past = typeof prompt === "object" && ("ids" in prompt || "text" in prompt);
    if (past && variables !== undefined) {
      throw new TacetError("bad_argument", "a prompt past the chat template has no templateVariables");
    }
    if (typeof prompt === "object" && "ids" in prompt) return prompt.ids;
    const tokenizer = await this.#loadTokenizer();
    if (typeof prompt === "object" && "text" in prompt)
      return tokenizer.encode(prompt.text, { atMost: this.contextLength });
    const messages = typeof prompt === "string" ? [{ role: "user", content: prompt }] : prompt;
    const text = (await this.#loadTemplate()).render(messages, { variables });
    return tokenizer.encode(text, { addSpecialTokens: false, atMost: this.contextLength });
  }

  #loadTokenizer(): Promise<Tokenizer> {
    return (this.#tokenizer ??= loadTokenizer(this.privateModel.checkpoint));
  }

  #loadTemplate(): Promise<ChatTemplate> {
    return (this.#template ??= loadChatTemplate(this.privateModel.checkpoint));
  }

  async #readDefaults(): Promise<AnswerDefaults> {
    const { sampling, maxNewTokens } = await readGenerationDefaults(this.privateModel.checkpoint);
    return { sampling, maxNewTokens };
  }
}

function checkPrompt(prompt: unknown): void {
  const isQuestion = typeof prompt === "string" || Array.isArray(prompt);
  if (isQuestion || (typeof prompt === "object" && prompt !== null && ("ids" in prompt || "text" in prompt)))
    return;
  const what = prompt === undefined ? "generate needs a prompt" : "the prompt is not one that can be read";
  throw new TacetError("bad_argument", what, {
    hint: "give a question, a list of messages { role, content }, { text } or { ids }",
  });
}
