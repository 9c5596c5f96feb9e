/** The audit's result, as --json writes it. */
import type { EffectRow } from "./answer-effects.ts";
import type { AttackResult } from "./attack.ts";
import type { LeakRow } from "./leak.ts";
import type { ToyRow } from "./toy/toy-report.ts";

export interface GroupReport {
  readonly group: number;
  readonly modules: readonly string[];
  readonly inFeatures: number;
  readonly rows: number;
  readonly weightBits: number;
  readonly replyBits: number;
  readonly weightEntropy: number;
  /** Q_func = n·h_A/b0; null for sealed output, whose W has low rank and so can be known after fewer. */
  readonly functionQueries: number | null;
  readonly attacks: readonly AttackResult[];
  /** Empty for sealed output, like Q_func. */
  readonly leak: readonly LeakRow[];
}

export interface SecurityRow {
  readonly what: string;
  readonly attack: string;
  readonly beta: number;
  readonly coreBits: number;
  readonly standardBits: number;
}

export interface AuditReport {
  readonly adapter: string;
  readonly output: string;
  readonly parameters: string;
  readonly security: readonly SecurityRow[];
  readonly groups: readonly GroupReport[];
  /** Lattice attacks end to end at toy size; empty where --attacks leaves them out. */
  readonly toy: readonly ToyRow[];
  /** Empty without a model and text. */
  readonly effects: readonly EffectRow[];
  readonly recommendation: Recommendation;
}

export interface Recommendation {
  /** Lowest offsets to the product's w and b0 that keep answers; 0 where no text was run. */
  readonly weightBits: number;
  readonly replyBits: number;
  /** By how much that b0 raises Q_func = n·h_A/b0; a lower w would lower it, so w is better left as it is. */
  readonly queriesGained: number;
  readonly budgets: readonly Budget[];
}

export interface Budget {
  readonly group: number;
  readonly inFeatures: number;
  /** Vectors after which the best attack's copy still has this error in deltas: Q at 0.5, and at 0.2. */
  readonly halfError: number;
  readonly fifthError: number;
  /** The attack that gets there first. */
  readonly attack: string;
  /** The budget: the smaller of halfError and Q_func/2. */
  readonly vectors: number;
}
