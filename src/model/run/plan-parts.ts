/**
 * How many parts an input is read in at the same time, each at another layer (wavefront.ts): so many that the line to the
 * source of deltas is never idle while there is something to send, and no more, since every part costs. A prompt has parts
 * of many tokens, a step of a token and its drafts parts of one or two: while one waits for its answer, the vectors of the
 * next ones are sent.
 *
 * The model reads T tokens in p parts of m = T/p. At each of E exchanges, the three that limit how fast the parts can
 * follow each other are
 *
 *   the line        T·v·vectorMs            all vectors, one after another; v of them for a token and exchange
 *   the processor   (T·tokenMs + p·passMs)/E  one part at a time
 *   a part itself   m·v·vectorMs + roundTripMs + (m·tokenMs + passMs)/E   sent, answered, computed
 *
 * and the last part comes p − 1 steps after the first one.
 */
import type { Line } from "../delta-source.ts";

/** What reading tokens costs in this process, in milliseconds, through all segments. */
export interface ReadingCost {
  readonly tokenMs: number;
  /** Of each pass, however few tokens it has. */
  readonly passMs: number;
  /** Nothing was measured yet. */
  readonly isUnknown?: boolean;
}

/** A wait for answers, and what it is for. */
export interface Exchanges {
  readonly count: number;
  /** Vectors of one token in each. */
  readonly vectors: number;
}

/** Tokens of a part at least while nobody knows what a pass costs: it may be much. */
const LEAST_TOKENS = 8;
/** More gain little; and each listens for the signal that stops them, of which Node allows ten before it warns. */
export const MOST_PARTS = 8;
/** A source so near is in this machine, or as good as that: the processor is what limits, and parts only cost. */
const NEARBY_MS = 1;
/** Parts are made where they save that share of the time at least: what is predicted is not exact. */
const WORTHWHILE = 0.05;
/** Of two numbers of parts the smaller one is taken unless the larger one saves so much. */
const SIMILAR = 0.03;

/** Milliseconds for `tokens` in `parts` parts. */
export function readingMs(
  tokens: number,
  parts: number,
  { roundTripMs, vectorMs }: Line,
  { tokenMs, passMs }: ReadingCost,
  { count, vectors }: Exchanges,
): number {
  if (count === 0) return tokens * tokenMs + parts * passMs;
  const sendMs = (tokens * vectors * vectorMs) / parts;
  const computeMs = ((tokens * tokenMs) / parts + passMs) / count;
  const step = Math.max(sendMs, computeMs);
  return count * Math.max(parts * step, sendMs + roundTripMs + computeMs) + (parts - 1) * step;
}

/** The number of parts that so many tokens are read in. */
export function planParts(
  tokens: number,
  line: Line | undefined,
  cost: ReadingCost,
  exchanges: Exchanges,
): number {
  const most = Math.min(MOST_PARTS, Math.floor(tokens / (cost.isUnknown ? LEAST_TOKENS : 1)));
  if (!line || line.roundTripMs < NEARBY_MS || exchanges.count === 0 || most < 2) return 1;
  const msOf = (parts: number) => readingMs(tokens, parts, line, cost, exchanges);
  let best = 2;
  for (let parts = 3; parts <= most; parts++) if (msOf(parts) < (1 - SIMILAR) * msOf(best)) best = parts;
  return msOf(best) < (1 - WORTHWHILE) * msOf(1) ? best : 1;
}

/** Of a pass of one token: what another one costs, until it is measured. */
const TOKEN_SHARE = 0.15;

/** Milliseconds a pass and a token, from passes of one token and of many. */
export class MeasuredCost implements ReadingCost {
  /** Of a pass of one token. */
  #stepMs = 0;
  #tokenMs = 0;

  get tokenMs(): number {
    return this.#tokenMs === 0 ? TOKEN_SHARE * this.#stepMs : this.#tokenMs;
  }

  get passMs(): number {
    return Math.max(0, this.#stepMs - this.tokenMs);
  }

  get isUnknown(): boolean {
    return this.#stepMs === 0;
  }

  /** A pass over so many tokens took so long. */
  add(tokens: number, ms: number): void {
    if (tokens >= LEAST_TOKENS) this.#tokenMs = recent(this.#tokenMs, Math.max(0, ms - this.passMs) / tokens);
    // The first prompt may have taken longer for each token than all others will.
    else this.#stepMs = recent(this.#stepMs, Math.max(ms / tokens, ms - (tokens - 1) * this.tokenMs));
  }
}

/** The mean of what is new and what was, or the new one where nothing was. */
const recent = (before: number, now: number): number => (before === 0 ? now : (before + now) / 2);
