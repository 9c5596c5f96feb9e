// The lines that the network bench measures: what people have between them and a server.
import type { LineOptions } from "../../test/support/link/link.ts";

export interface Line {
  readonly name: string;
  /** For a table. */
  readonly title: string;
  /** Absent: client and provider are in one machine. */
  readonly options?: LineOptions;
  readonly isQuick?: boolean;
}

const line = (name: string, roundTripMs: number, upMbits: number, downMbits: number): Line => ({
  name,
  title: `${name}: ${roundTripMs} ms, ${upMbits}/${downMbits} Mbit/s`,
  options: { roundTripMs, upMbits, downMbits },
});

export const LINES: readonly Line[] = [
  { name: "loopback", title: "loopback", isQuick: true },
  line("metro", 5, 200, 500),
  { ...line("home", 30, 20, 100), isQuick: true },
  line("far", 120, 50, 200),
];
