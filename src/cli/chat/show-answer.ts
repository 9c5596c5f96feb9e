/** An answer of a conversation onto stdout, with what it took. */
import { grouped } from "../../base/show-number.ts";
import type { Answer, AnswerEnd } from "../../generation/answer.ts";
import { between, type Reading, readCounters } from "../shared/counters.ts";
import type { OpenedModel } from "../shared/source.ts";
import { showBytes, showMs, WIDTH, printAnswer } from "../shared/terminal.ts";
import { WordWrap } from "./word-wrap.ts";

export interface ShownAnswer {
  readonly end: AnswerEnd;
  /** Before the answer, after its first token, and at its end; the second is missing where there was none. */
  readonly start: Reading;
  readonly first: Reading | undefined;
  readonly last: Reading;
}

export async function showAnswer(source: OpenedModel, answer: Answer): Promise<ShownAnswer> {
  const start = readCounters(source);
  let first: Reading | undefined;
  const wrap = process.stdout.isTTY
    ? new WordWrap(printAnswer, () => process.stdout.columns || WIDTH)
    : undefined;
  try {
    for await (const { text } of answer) {
      first ??= readCounters(source);
      if (wrap) wrap.add(text);
      else printAnswer(text);
    }
  } finally {
    wrap?.flush();
  }
  const last = readCounters(source);
  return { end: await answer.end, start, first, last };
}

/**
 * "18 tokens, 24.1/s after 120.0 ms; 41 % for privacy; 2.1 MB up, 0.6 MB down; 1 key, 3.1 MB; budget 1,203": speed, time
 * to the first token; share of the time that the base model alone would not have taken; bytes; "7 of 9 drafts accepted,
 * 8.4 round trips a token" where it drafted; keys that came meanwhile; tokens that the provider says are left.
 */
export function statusOf({ end, start, first, last }: ShownAnswer, source: OpenedModel): string {
  const tokens = end.ids.length;
  const parts = [`${tokens} ${tokens === 1 ? "token" : "tokens"}`];
  if (first !== undefined) {
    const seconds = between(first, last).totalMs / 1000;
    const speed = tokens > 1 && seconds > 0 ? `, ${((tokens - 1) / seconds).toFixed(1)}/s` : "";
    parts[0] += `${speed} after ${showMs(between(start, first).totalMs)}`;
  }
  if (source.remote !== undefined) {
    const { totalMs, baseMs, bytesUp, bytesDown, exchanges, keys, keyBytes } = between(start, last);
    const share = totalMs > 0 ? Math.max(0, 1 - baseMs / totalMs) : 0;
    parts.push(`${Math.round(100 * share)} % for privacy`);
    parts.push(`${showBytes(bytesUp)} up, ${showBytes(bytesDown)} down`);
    if (end.drafts !== undefined) {
      const { accepted, drafted } = end.drafts;
      const each = (exchanges / Math.max(1, tokens)).toFixed(1);
      parts.push(`${accepted} of ${drafted} drafts accepted, ${each} round trips a token`);
    }
    if (keys > 0) parts.push(`${keys} ${keys === 1 ? "key" : "keys"}, ${showBytes(keyBytes)}`);
    const { budget } = source.remote.provider;
    if (budget !== undefined) parts.push(`budget ${grouped(budget.left)}`);
  }
  const reason = REASONS[end.reason];
  if (reason !== undefined) parts.push(reason);
  return parts.join("; ");
}

const REASONS: Partial<Record<AnswerEnd["reason"], string>> = {
  aborted: "stopped",
  context: "the context is full",
  length: "cut at --max-new-tokens",
};
