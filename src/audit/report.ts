/** The audit's result, as --json writes it. */
import type { EffectRow } from "./answer-effects.ts";
import type { AttackResult } from "./attack.ts";
import type { ToyRow } from "./toy/toy-report.ts";
import type { WearRow } from "./wear.ts";

export interface GroupReport {
  readonly group: number;
  readonly modules: readonly string[];
  readonly inFeatures: number;
  readonly rows: number;
  /** h_A: bits of a weight at the precision of answers. */
  readonly weightEntropy: number;
  /** Q_func = n·h_A/b0 */
  readonly functionQueries: number;
  readonly attacks: readonly AttackResult[];
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
  readonly parameters: string;
  /** b0 */
  readonly replyBits: number;
  /** k, and the vectors that a key answers. */
  readonly keyLength: number;
  readonly vectorsPerKey: number;
  readonly security: readonly SecurityRow[];
  /** What vectors under one key leave of it. */
  readonly wear: readonly WearRow[];
  readonly groups: readonly GroupReport[];
  /** Lattice attacks end to end at toy size; empty where --attacks leaves them out. */
  readonly toy: readonly ToyRow[];
  /** Empty without a model and text. */
  readonly effects: readonly EffectRow[];
  readonly recommendation: Recommendation;
}

export interface Recommendation {
  /** Lowest offset to the product's b0 that keeps answers; 0 where no text was run. */
  readonly replyBits: number;
  /** By how much that b0 raises Q_func = n·h_A/b0. */
  readonly queriesGained: number;
  readonly budgets: readonly GroupBudget[];
}

export interface GroupBudget {
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
