/** From the pieces of an answer to the bodies that a client is sent. */

import { TacetError } from "../base/errors.ts";
import type { AnswerEnd } from "../generation/answer-stream.ts";
import type { GenerationRequest } from "./parse-request.ts";
import type { AnswerHead, AnswerPart, Dialect } from "./schema.ts";
import type { Answering, ServedModel } from "./served-model.ts";
import { type ChosenEntry, TokenLogprobs } from "./token-logprobs.ts";

/** The answer part by part; the last one has its end. */
export async function* answerPartsOf(
  served: ServedModel,
  request: GenerationRequest,
  owner: string,
  signal: AbortSignal,
): AsyncGenerator<AnswerPart, void, void> {
  const { answer, lastPromptId }: Answering = served.answer(request, owner, signal);
  const logprobs =
    request.options.logprobs === undefined
      ? undefined
      : new TokenLogprobs(served.tokenizer, lastPromptId, served.endIdsOf(request));
  for await (const piece of answer) {
    const entries = logprobs?.push(piece);
    if (piece.text !== "") yield { text: piece.text, logprobs: entries };
  }
  const end = await answer.end;
  yield { text: "", logprobs: logprobs?.finish(end), end: unlessAborted(end) };
}

/** The chunks of a stream. @param first the part that was waited for */
export async function* chunksOf(
  dialect: Dialect,
  head: AnswerHead,
  first: AnswerPart,
  rest: AsyncGenerator<AnswerPart, void, void>,
  includeUsage: boolean,
): AsyncGenerator<object, void, void> {
  const chunk = (part: AnswerPart): object => ({
    ...dialect.chunk(head, part),
    // As OpenAI has it: where the counts were asked for, every chunk has the field.
    ...(includeUsage ? { usage: null } : {}),
  });
  try {
    if (dialect.opens) yield chunk({ text: "", logprobs: undefined });
    for (let part: AnswerPart | undefined = first; part !== undefined; ) {
      yield chunk(part);
      if (part.end !== undefined && includeUsage) yield dialect.usageChunk(head, part.end);
      const next: IteratorResult<AnswerPart, void> = await rest.next();
      part = next.done ? undefined : next.value;
    }
  } finally {
    await rest.return();
  }
}

export async function wholeOf(
  dialect: Dialect,
  head: AnswerHead,
  parts: AsyncGenerator<AnswerPart, void, void>,
): Promise<object> {
  let text = "";
  let end: AnswerEnd | undefined;
  let logprobs: ChosenEntry[] | undefined;
  for await (const part of parts) {
    text += part.text;
    end = part.end;
    if (part.logprobs !== undefined) logprobs = [...(logprobs ?? []), ...part.logprobs];
  }
  if (end === undefined) throw new TypeError("an answer has an end");
  return dialect.whole(head, { text, logprobs, end });
}

function unlessAborted(end: AnswerEnd): AnswerEnd {
  if (end.reason !== "aborted") return end;
  throw new TacetError("aborted", "the answer was broken off: the endpoint is being stopped");
}
