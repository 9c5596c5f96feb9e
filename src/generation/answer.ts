/** An answer while it is generated: pieces to read, and what ended it. */

import type { DraftCounts } from "./drafts/drafting.ts";
import type { GeneratedToken } from "./generate.ts";

export interface AnswerPiece {
  /** Text that is certain now, and behind all that came before; often "". */
  readonly text: string;
  /** The token that made it certain; absent from the piece that ends an answer with what was held back. */
  readonly token?: GeneratedToken | undefined;
}

export interface AnswerEnd {
  /** "length": maxNewTokens were generated; "context": the context is full; "aborted": the signal, or who read, left. */
  readonly reason: "eos" | "stop" | "length" | "context" | "aborted";
  /** The stop string that ended it. */
  readonly stop?: string | undefined;
  /** All pieces together. */
  readonly text: string;
  /** The end token and the tokens of a stop string included. */
  readonly ids: readonly number[];
  readonly promptTokens: number;
  /** Tokens of the prompt that did not have to be read again. */
  readonly cachedTokens: number;
  /** Where anything was drafted. */
  readonly drafts?: Readonly<DraftCounts>;
}

/**
 * An answer is generated while somebody reads it: in a `for await` loop, which may be left early to break the answer
 * off, or as a whole by `text()` or `end`. It is read once. Whatever goes wrong comes out of all three alike.
 *
 * ```ts
 * const answer = law.generate("tender");
 * for await (const { text } of answer) process.stdout.write(text);
 * const { reason, ids } = await answer.end;
 * ```
 */
export interface Answer extends AsyncIterable<AnswerPiece, void, void> {
  /**
   * What ended the answer. Where no loop reads it, asking for the end reads it. An answer that was broken off, by the
   * signal or by leaving the loop, ends with the reason "aborted" and what there was of it.
   */
  readonly end: Promise<AnswerEnd>;
  /** All pieces together. */
  text(): Promise<string>;
  /** @throws TypeError if the answer is being read, or was */
  [Symbol.asyncIterator](): AsyncIterator<AnswerPiece, void, void>;
}

/** How much of a prompt there was to read, filled in as soon as it is known, and what is drafted meanwhile. */
export interface AnswerCounts {
  promptTokens: number;
  cachedTokens: number;
  readonly drafts: DraftCounts;
}

export const noCounts = (): AnswerCounts => ({
  promptTokens: 0,
  cachedTokens: 0,
  drafts: { drafted: 0, accepted: 0 },
});

/** The counts as an answer's end has them. */
export function endCounts({
  promptTokens,
  cachedTokens,
  drafts,
}: AnswerCounts): Pick<AnswerEnd, "promptTokens" | "cachedTokens" | "drafts"> {
  return { promptTokens, cachedTokens, ...(drafts.drafted > 0 && { drafts: { ...drafts } }) };
}

/** Generates an answer. @param counts to fill in before the first piece, for a reader who leaves early */
export type WriteAnswer = (counts: AnswerCounts) => AsyncGenerator<AnswerPiece, AnswerEnd, void>;

/** @param write called once, when the answer is first asked for; nothing runs before that */
export function answerOf(write: WriteAnswer): Answer {
  return new WrittenAnswer(write);
}

class WrittenAnswer implements Answer {
  readonly #write: WriteAnswer;
  readonly #counts = noCounts();
  readonly #ids: number[] = [];
  #text = "";
  #isRead = false;
  readonly #end: Promise<AnswerEnd>;
  #ended: (end: AnswerEnd) => void = () => {};
  #failed: (error: unknown) => void = () => {};

  constructor(write: WriteAnswer) {
    this.#write = write;
    this.#end = new Promise((resolve, reject) => {
      this.#ended = resolve;
      this.#failed = reject;
    });
    // Whoever reads the pieces is told; nobody has to ask for the end as well.
    this.#end.catch(() => {});
  }

  get end(): Promise<AnswerEnd> {
    // Later in this turn a loop may begin: it comes first.
    queueMicrotask(() => {
      if (!this.#isRead) void this.#drain();
    });
    return this.#end;
  }

  async text(): Promise<string> {
    return (await this.end).text;
  }

  [Symbol.asyncIterator](): AsyncIterator<AnswerPiece, void, void> {
    if (this.#isRead) {
      throw new TypeError("an answer is read once: by one loop, or as a whole by text() or end");
    }
    this.#isRead = true;
    const pieces = this.#write(this.#counts);
    return { next: () => this.#next(pieces), return: () => this.#leave(pieces) };
  }

  async #drain(): Promise<void> {
    try {
      for await (const _ of this);
    } catch {
      // The end has it.
    }
  }

  async #next(
    pieces: AsyncGenerator<AnswerPiece, AnswerEnd, void>,
  ): Promise<IteratorResult<AnswerPiece, void>> {
    try {
      const next = await pieces.next();
      if (next.done) {
        // A generator that has ended before says so without a value; the first word counts.
        if (next.value !== undefined) this.#ended(next.value);
        return { done: true, value: undefined };
      }
      this.#text += next.value.text;
      if (next.value.token !== undefined) this.#ids.push(next.value.token.id);
      return next;
    } catch (error) {
      this.#failed(error);
      throw error;
    }
  }

  async #leave(
    pieces: AsyncGenerator<AnswerPiece, AnswerEnd, void>,
  ): Promise<IteratorResult<AnswerPiece, void>> {
    try {
      await pieces.return(undefined as never);
    } catch (error) {
      this.#failed(error);
      throw error;
    }
    this.#ended({ reason: "aborted", text: this.#text, ids: this.#ids, ...endCounts(this.#counts) });
    return { done: true, value: undefined };
  }
}
