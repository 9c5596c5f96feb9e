/** What a provider refuses with, and what becomes of a connection, as errors. What a peer says is quoted, never trusted. */
import { errorCodeOfWire, TacetError } from "../../base/errors.ts";

export const RETRY_HINT = "check that the provider runs and can be reached, then try again";

export function closedError(code: number, reason: string): TacetError {
  const why = printable(reason) || `close code ${code}`;
  return new TacetError("connection_lost", `the connection to the provider was lost (${why})`, {
    hint: RETRY_HINT,
  });
}

export function failureError(failure: { code: number; message: string; hint: string }): TacetError {
  const hint = printable(failure.hint);
  const message = printable(failure.message) || "the provider refused";
  return new TacetError(errorCodeOfWire(failure.code), message, hint === "" ? {} : { hint });
}

/** A peer's text for a terminal: one line, no control characters, bounded. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, " ").slice(0, 500);
}
