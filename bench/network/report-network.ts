// The table of one shape.
import { formatBytes, formatMs, markdownTable } from "../harness.ts";
import type { Line } from "./lines.ts";
import type { Asked, Costs, Mode } from "./measure-over.ts";

export interface Measured extends Costs {
  readonly line: Line;
  readonly mode: Mode;
}

export function reportNetwork(results: readonly Measured[], { prompt, tokens }: Asked): string {
  const header = [
    "line",
    "measures",
    `first prompt of ${prompt}`,
    "a later one",
    "up",
    "vectors",
    "waits",
    "first token",
    "token",
    "up",
    "down",
    "vectors",
    "waits",
  ];
  const rows = results.map(({ line, mode, ...costs }) => [
    line.title,
    mode.name,
    formatMs(costs.first.ms),
    formatMs(costs.prompt.ms),
    formatBytes(costs.prompt.bytesUp),
    String(costs.prompt.vectors),
    String(costs.prompt.exchanges),
    formatMs(costs.firstTokenMs),
    formatMs(costs.token.ms),
    formatBytes(costs.token.bytesUp),
    formatBytes(costs.token.bytesDown),
    String(costs.token.vectors),
    String(costs.token.exchanges),
  ]);
  const notes = [
    `"Waits": exchanges that one part of the prompt, or a token, has to wait for one after the other. "First token":`,
    `the first decode step of a connection, which asks for the effects of look-ahead. Tokens: the median of ${tokens}.`,
    "Bytes without keys. A wavefront's prompt is in parts, which wait at the same time.",
  ];
  return [markdownTable(header, rows), notes.join(" ")].join("\n\n");
}
