/** What an attack is given, and what it returns. */
import type { RandomSource } from "../ring/random-source.ts";
import type { GroupView } from "./group-view.ts";
import type { Oracle } from "./oracle.ts";
import type { Activations, CurvePoint } from "./score.ts";
import type { GroupTruth } from "./truth.ts";

/** Other ways to the same adapter than a new account. Those that a provider does not have are left out. */
export interface Situations {
  /** Another connection of the same account. */
  readonly sameAccount?: (of: Oracle) => Promise<Oracle>;
  /** The same account at another replica of the provider. */
  readonly replica?: (of: Oracle) => Promise<Oracle>;
  /** The same account after the provider was started again. */
  readonly restarted?: (of: Oracle) => Promise<Oracle>;
  /** A new account at another bundle of the same adapter. */
  readonly otherVersion?: () => Promise<Oracle>;
}

export interface AttackContext {
  readonly view: GroupView;
  /** For scoring alone. */
  readonly truth: GroupTruth;
  /** Opens a further access to the same group: a separate account. */
  readonly open: () => Promise<Oracle>;
  readonly situations: Situations;
  /** One or more kinds of activations; the first is the one that scores use. */
  readonly activations: readonly Activations[];
  /** Pairs (x, y) that an ordinary client gets when it runs text through the model: (count, n) and (count, R). */
  readonly recorded?: { readonly x: Float32Array; readonly y: Float32Array };
  /** Most queries an attack may ask. */
  readonly maxQueries: number;
  readonly random: RandomSource;
  readonly signal?: AbortSignal;
}

export interface AttackResult {
  /** As --attacks names it. */
  readonly attack: string;
  /** What this row is, when an attack has several. */
  readonly variant: string;
  /** Empty where no copy is made. */
  readonly points: readonly CurvePoint[];
  /** Measured numbers by name. */
  readonly facts: Readonly<Record<string, number>>;
  /** One sentence: what was found. */
  readonly finding: string;
}

export interface Attack {
  readonly name: string;
  readonly title: string;
  /** Paper and section, or "Tacet's own". */
  readonly source: string;
  run(context: AttackContext): Promise<AttackResult[]>;
}
