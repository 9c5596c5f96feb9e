// What a line takes for what was sent over it, as docs/network.md has it: to be held against what was measured.
import { readingMs } from "../../src/model/run/plan-parts.ts";
import type { LineOptions } from "../../test/support/link/link.ts";
import type { Cost } from "./measure-over.ts";

const NO_COMPUTING = { tokenMs: 0, passMs: 0 };

/** Milliseconds for a prompt or a token that nobody had to compute. */
export function lineMs(
  { bytesUp, exchanges, parts }: Pick<Cost, "bytesUp" | "exchanges" | "parts">,
  { roundTripMs, upMbits = Number.POSITIVE_INFINITY }: LineOptions,
): number {
  if (exchanges === 0) return 0;
  const vectorMs = (bytesUp * 8) / (1000 * upMbits * exchanges);
  const atATime = Math.max(1, Math.round(parts));
  return readingMs(1, atATime, { roundTripMs, vectorMs }, NO_COMPUTING, { count: exchanges, vectors: 1 });
}
