// The tables of one shape: measured, and computed for other round trips.
import { MOST_PARTS } from "../../src/model/run/plan-parts.ts";
import type { LineOptions } from "../../test/support/link/link.ts";
import { formatBytes, formatMs, markdownTable, significant } from "../harness.ts";
import { lineMs } from "./line-time.ts";
import type { Line } from "./lines.ts";
import { type Asked, type Cost, type Costs, INVOCATION, type Mode } from "./measure-over.ts";

export interface Measured extends Costs {
  readonly line: Line;
  readonly mode: Mode;
}

export function reportNetwork(results: readonly Measured[], asked: Asked): string {
  const header = [
    "line",
    "measures",
    `first prompt of ${asked.prompt}`,
    "a later one",
    "parts",
    "the line alone",
    "up",
    "vectors",
    "waits",
    "token",
    "the line alone",
    "up",
    "down",
    "vectors",
    "waits",
    "drafts accepted",
  ];
  const rows = results.map(({ line, mode, first, prompt, token, steps, drafts }) => [
    line.title,
    mode.title,
    formatMs(first.ms),
    formatMs(prompt.ms),
    significant(prompt.parts),
    line.options ? formatMs(lineMs(prompt, line.options)) : "",
    formatBytes(prompt.bytesUp),
    significant(prompt.vectors),
    significant(prompt.exchanges),
    formatMs(token.ms),
    line.options ? formatMs(stepMs(token, steps, line.options)) : "",
    formatBytes(token.bytesUp),
    formatBytes(token.bytesDown),
    significant(token.vectors),
    significant(token.exchanges),
    drafts.drafted === 0 ? "" : `${drafts.accepted} of ${drafts.drafted}`,
  ]);
  const notes = [
    `"Waits": for the provider, one after the other; of parts that are read at the same time those of one. "The line alone":`,
    "computed from bytes, waits and parts (docs/network.md). Bytes without keys. A token: the mean of an answer's, its",
    "first six left out.",
  ];
  return [markdownTable(header, rows), notes.join(" ")].join("\n\n");
}

/** What the line takes of a token: its share of a step. */
function stepMs(token: Cost, steps: number, line: LineOptions): number {
  const ofStep = (value: number) => value / steps;
  const { bytesUp, exchanges, parts } = token;
  const step = { bytesUp: ofStep(bytesUp), exchanges: ofStep(exchanges), parts: ofStep(parts) };
  return steps * lineMs(step, line);
}

/** What an activated LoRA's prompt costs in its two parts, beside the base model's own. */
export function reportActivated(results: readonly Measured[], baseMs: number, { prompt }: Asked): string {
  const length = INVOCATION.length;
  const header = [
    "line",
    `${prompt - length} tokens before`,
    "vectors",
    "the base model alone",
    `${length} from it on`,
  ];
  const rows = results.map(({ line, invocation }) => [
    line.title,
    formatMs(invocation!.before.ms),
    significant(invocation!.before.vectors),
    formatMs(baseMs),
    formatMs(invocation!.from.ms),
  ]);
  return [
    markdownTable(header, rows),
    "An activated LoRA's prompt, before its invocation and from there on.",
  ].join("\n\n");
}

/** Round trips and rates upwards that the computed table has. */
const ROUND_TRIPS = [1, 2, 5, 10, 20, 30, 50, 100];
const UP_MBITS = [20, 100];

/** What the line takes of a prompt and a token, for many lines, from what was sent over one of them. */
export function reportComputed(results: readonly Measured[], asked: Asked): string {
  const farthest = results.findLast(({ line }) => line.options)?.line;
  const shown = results.filter(({ line, mode }) => line === farthest && mode.isActivated === undefined);
  const tokenOf = ({ token, steps }: Costs, roundTripMs: number, upMbits: number) =>
    formatMs(stepMs(token, steps, { roundTripMs, upMbits }));
  const of = (cost: Cost, parts: number, roundTripMs: number, upMbits: number) =>
    formatMs(lineMs({ ...cost, parts }, { roundTripMs, upMbits }));
  const header = [
    "round trip",
    ...UP_MBITS.flatMap((up) => shown.map(({ mode }) => `token, ${mode.title}, ${up} Mbit/s`)),
    ...UP_MBITS.flatMap((up) => [`prompt of ${asked.prompt}, none, ${up} Mbit/s`, `with all, ${up} Mbit/s`]),
  ];
  const rows = ROUND_TRIPS.map((roundTripMs) => [
    `${roundTripMs} ms`,
    ...UP_MBITS.flatMap((up) => shown.map((costs) => tokenOf(costs, roundTripMs, up))),
    ...UP_MBITS.flatMap((up) => {
      const [first, last] = [shown[0].prompt, shown[shown.length - 1].prompt];
      const best = Math.min(
        ...Array.from({ length: MOST_PARTS }, (_, i) =>
          lineMs({ ...last, parts: i + 1 }, { roundTripMs, upMbits: up }),
        ),
      );
      return [of(first, 1, roundTripMs, up), formatMs(best)];
    }),
  ]);
  return markdownTable(header, rows);
}
