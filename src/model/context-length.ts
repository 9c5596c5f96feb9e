/** How many tokens a model takes: in a context, and in one pass. */

import { assertInteger } from "../base/assert.ts";
import { TacetError } from "../base/errors.ts";
import type { DecoderConfig } from "./graph/decoder.ts";

const DEFAULT_CONTEXT = { least: 2048, most: 8192 };
const PASS_TOKENS = 512;
/** The attention operator makes heads·tokens·context scores of 4 bytes in a pass: at most this many bytes. */
const SCORE_BYTES = 256e6;

/** @throws TacetError bad_argument for a longer context than the model runs */
export function chooseContext(
  { trainedContext, contextLimit, longFrom }: DecoderConfig,
  asked?: number,
): number {
  const limit = contextLimit?.tokens ?? 2 ** 24;
  if (asked === undefined) {
    const { least, most } = DEFAULT_CONTEXT;
    // A context that becomes long is read again: only where somebody has asked for it.
    return Math.min(limit, longFrom ?? limit, most, Math.max(least, trainedContext));
  }
  assertInteger(asked, "contextLength", 1, 2 ** 24);
  if (asked <= limit) return asked;
  throw new TacetError(
    "bad_argument",
    `the model runs up to ${limit} tokens, a context of ${asked} was asked for: ${contextLimit!.reason}`,
    { hint: `ask for a context of at most ${limit}` },
  );
}

/** As many tokens as keep the scores of a full context within their limit. */
export function choosePassTokens({ heads }: DecoderConfig, contextLength: number, asked?: number): number {
  if (asked !== undefined) return assertInteger(asked, "passTokens", 1, 2 ** 24);
  const fitting = Math.floor(SCORE_BYTES / (4 * heads * contextLength));
  return Math.max(16, Math.min(PASS_TOKENS, fitting));
}
